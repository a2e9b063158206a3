"""Drive many cameras through one server, and compare them with a bare engine and a naive server.

`python scripts/bench.py --fleet N` runs compare(); with `--survive MINUTES` the server is killed and started again.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines.errors import UserError
from scripts.common.checkout import ROOT
from scripts.serving import repository
from scripts.serving.model_config import ServingConfig
from scripts.serving.server import TritonServer

SERVED_MODEL = "fast-x2"
FLEET_START_TIMEOUT_S = 90.0
"""Seconds for all cameras to show their first picture."""


@dataclass(frozen=True)
class Fleet:
    """The cameras to drive. `fps` is that of each camera."""

    cameras: int
    engine: str
    size: tuple[int, int] = (640, 360)
    fps: float = 30.0
    seconds: float = 10.0
    depth: int = 2
    transport: str = "auto"
    fallback: str = "none"
    check: bool = False
    config: Path | None = None
    """Of the app: how to talk to the server (scripts/serving/client_options.py)."""

    def command(self, number: int) -> list[str]:
        """Return the command line of the process of camera `number`."""
        size = f"{self.size[0]}x{self.size[1]}"
        options = {"engine": self.engine, "size": size, "fps": self.fps, "seconds": self.seconds, "depth": self.depth}
        options |= {"transport": self.transport, "fallback": self.fallback, "number": number}
        if self.config:
            options["config"] = self.config
        arguments = [part for key, value in options.items() for part in (f"--{key}", str(value))]
        return [
            sys.executable,
            str(ROOT / "scripts/benchmarks/fleet/simulated_camera.py"),
            *arguments,
            *(["--check"] if self.check else []),
        ]


class FleetError(UserError):
    """A camera has failed."""


@dataclass
class FleetResult:
    """What the cameras of a fleet saw."""

    cameras: list[dict[str, Any]] = field(default_factory=list)

    def total(self, key: str) -> float:
        """Return the sum of the figure `key` over all cameras."""
        return float(sum(camera[key] for camera in self.cameras))

    @property
    def fairness(self) -> float:
        """Jain's index of frames a second: 1 when all cameras get the same, 1/N when one gets everything.

        R. Jain, D. Chiu, W. Hawe: A Quantitative Measure of Fairness, DEC TR-301, 1984.
        """
        rates = [camera["fps"] for camera in self.cameras]
        return sum(rates) ** 2 / (len(rates) * sum(rate**2 for rate in rates)) if any(rates) else 0.0

    def table(self) -> str:
        """Return a line for each camera and one for all, as text."""
        rows = [f"{'camera':<8}{'fps':>8}{'p50 ms':>9}{'p99 ms':>9}{'dropped':>9}{'fallback':>10}"]
        rows += [
            f"{number:<8}{camera['fps']:>8.2f}{camera['p50']:>9.1f}{camera['p99']:>9.1f}{camera['dropped']:>9}{camera['fallback']:>10}"
            for number, camera in enumerate(self.cameras)
        ]
        p50, p99 = (statistics.median(camera[key] for camera in self.cameras) for key in ("p50", "p99"))
        rows.append(
            f"{'all':<8}{self.total('fps'):>8.2f}{p50:>9.1f}{p99:>9.1f}"
            f"{self.total('dropped'):>9.0f}{self.total('fallback'):>10.0f}   fairness {self.fairness:.3f}"
        )
        return "\n".join(rows)


@contextlib.contextmanager
def started(fleet: Fleet) -> Iterator[list[subprocess.Popen[str]]]:
    """Start the processes of all cameras; yield them once each has shown its first picture and waits to begin.

    All have ended afterwards. Raises FleetError.
    """
    processes = [
        subprocess.Popen(
            fleet.command(number), cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None
        )
        for number in range(fleet.cameras)
    ]

    def give_up() -> None:
        for process in processes:
            process.kill()

    watchdog = threading.Timer(FLEET_START_TIMEOUT_S, give_up)
    watchdog.start()
    try:
        for number, process in enumerate(processes):
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                command = " ".join(fleet.command(number))
                raise FleetError(
                    f"Camera {number} has not started", "its own messages are above", f"By hand: {command}"
                )
        watchdog.cancel()
        yield processes
    finally:
        watchdog.cancel()
        for process in processes:
            process.kill()
            process.communicate()


def drive(fleet: Fleet) -> FleetResult:
    """Run all cameras at once. Raises FleetError."""
    with started(fleet) as processes:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return gather(processes, fleet)


def gather(processes: list[subprocess.Popen[str]], fleet: Fleet) -> FleetResult:
    """Return what started cameras report at their end. Raises FleetError."""
    result = FleetResult()
    until = time.monotonic() + fleet.seconds + FLEET_START_TIMEOUT_S
    for number, process in enumerate(processes):
        try:
            output, _ = process.communicate(timeout=max(1.0, until - time.monotonic()))
            result.cameras.append(json.loads(output.splitlines()[-1]))
        except (subprocess.TimeoutExpired, IndexError, ValueError):
            raise FleetError(
                f"Camera {number} has failed", f"its exit status is {process.poll()}", "Its own messages are above."
            ) from None
    return result


@contextlib.contextmanager
def served(size: tuple[int, int], model: str = SERVED_MODEL) -> Iterator[TritonServer]:
    """Run a real Triton with a shipped model in a repository of scripts/triton_repository.py."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder, "models")
        repository.write_repository(models, repository.chosen_models([model]), ServingConfig(size=size))
        with TritonServer(models) as server:
            yield server
