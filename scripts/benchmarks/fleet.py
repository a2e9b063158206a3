"""Drive many cameras through one server, and compare them with a bare engine and a naive server.

`python scripts/bench.py --fleet N` runs compare(); with `--survive MINUTES` the server is killed and started again.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import engines
from engines.catalog import shipped as catalog
from engines.errors import UserError
from engines.request import EngineRequest, Transport, TritonOptions
from scripts.benchmarks import timing
from scripts.common.checkout import ROOT
from scripts.common.figure import Figure
from scripts.serving import repository
from scripts.serving.model_config import ServingConfig
from scripts.serving.server import TritonServer, free_ports, known_regions, shared_names

SERVED_MODEL = "fast-x2"
FLEET_START_TIMEOUT_S = 90.0
"""Seconds for all cameras to show their first picture."""
SERVER_KILLS = 5
SERVER_DOWNTIME_S = 3.0
"""Seconds that the server stays away each time."""


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
            str(ROOT / "scripts/benchmarks/simulated_camera.py"),
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
                raise FleetError(f"Camera {number} has not started", "its own words are above", f"By hand: {command}")
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
                f"Camera {number} has failed", f"its exit status is {process.poll()}", "Its own words are above."
            ) from None
    return result


def weights_of(model: str) -> str:
    """Return the fp32 file of the shipped network of which `model` is the file in some precision.

    Both are without .onnx.
    """
    (shipped,) = repository.chosen_models([model])
    return catalog.find(f"{shipped.name}-x{shipped.scale}-fp32").stem


@contextlib.contextmanager
def naive(port: int, model: str) -> Iterator[str]:
    """Run the naive server with a shipped fp32 model, and yield its address once it is ready."""
    command = [sys.executable, str(ROOT / "scripts/benchmarks/naive_server.py"), "--port", str(port), "--model", model]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise FleetError("The naive program has not started", "its own words are above", "pip install torch")
            yield f"http://127.0.0.1:{port}/{model}"
        finally:
            process.kill()


@contextlib.contextmanager
def served(size: tuple[int, int], model: str = SERVED_MODEL) -> Iterator[TritonServer]:
    """Run a real Triton with a shipped model in a repository of scripts/triton_repository.py."""
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder, "models")
        repository.write_repository(models, repository.chosen_models([model]), ServingConfig(size=size))
        with TritonServer(models) as server:
            yield server


@dataclass
class Comparison:
    """A fleet through Triton beside its rivals."""

    figures: list[Figure] = field(default_factory=list)
    fleets: dict[str, FleetResult] = field(default_factory=dict)


def engine_against_triton(
    server: TritonServer, model: str, size: tuple[int, int], rounds: int, seconds: float
) -> Comparison:
    """Measure one camera's engine: bare, and through Triton by shared memory and raw."""
    frame, result, address = timing.noise(size), Comparison(), f"triton://{server.address}/{model}"
    transports: dict[str, tuple[Transport, int]]
    transports = {
        "shared memory": ("shm", 2),
        "shared memory, three in flight": ("shm", 3),
        "raw over loopback": ("raw", 2),
    }
    with contextlib.ExitStack() as stack:
        loaded = [
            stack.enter_context(
                engines.load(EngineRequest("openvino", str(catalog.MODELS_FOLDER / f"{model}.onnx"), size))
            )
        ]
        for transport, depth in transports.values():
            engine = engines.load(
                EngineRequest(address, "fast", size, depth=depth, triton=TritonOptions(transport=transport))
            )
            loaded.append(stack.enter_context(engine))
        loops = [timing.EngineLoop(engine, frame) for engine in loaded]
        bare_alone, *alone = timing.alternate([partial(loop.alone, 25) for loop in loops], rounds)
        bare_full, *full = timing.alternate([partial(loop.seconds, seconds) for loop in loops], rounds)
    result.figures.append(Figure("bare engine, frames a second", 1000 / statistics.median(bare_full), "fps"))
    for (label, (transport, depth)), served_alone, served_full in zip(transports.items(), alone, full, strict=True):
        wanted = transport == "shm"
        ratio = statistics.median(bare / served_ms for bare, served_ms in zip(bare_full, served_full, strict=True))
        result.figures.append(Figure(f"Triton, {label}, against the bare engine", ratio, "x", 0.85 if wanted else None))
        if depth == 2:  # a frame that is alone is as late with any other number
            added = statistics.median(
                served_ms - bare for bare, served_ms in zip(bare_alone, served_alone, strict=True)
            )
            goal = 4.0 if wanted else None
            result.figures.append(Figure(f"Triton, {label}, latency added", added, "ms", goal, at_least=False))
    return result


def compare(cameras: int, model: str, size: tuple[int, int], seconds: float, rounds: int = 3) -> Comparison:
    """Measure everything that --fleet prints, with a shipped model. Raises UserError."""
    with served(size, model) as server:
        result = engine_against_triton(server, model, size, 2 * rounds, seconds / 5)
        plan = Fleet(cameras, f"triton://{server.address}/{model}", size, seconds=seconds)
        ratios, comparable = [], bool(importlib.util.find_spec("torch"))
        for _ in range(rounds):
            result.fleets["Triton, shared memory"] = fast = drive(plan)
            if comparable:
                with naive(free_ports(1)[0], weights_of(model)) as address:
                    result.fleets["naive PyTorch over HTTP"] = slow = drive(replace(plan, engine=address))
                ratios.append(fast.total("fps") / slow.total("fps"))
        result.fleets["Triton, raw over loopback"] = drive(replace(plan, transport="raw"))
    total = result.fleets["Triton, shared memory"].total("fps")
    result.figures += [
        Figure(f"{cameras} cameras through Triton, in total", total, "fps"),
        Figure(f"{cameras} cameras, fairness (Jain)", result.fleets["Triton, shared memory"].fairness),
    ]
    if ratios:
        ratio = statistics.median(ratios)
        result.figures.append(Figure(f"{cameras} cameras, Triton against naive PyTorch", ratio, "x", 6.0))
    return result


def survive(
    cameras: int,
    minutes: float,
    *,
    size: tuple[int, int] = (320, 180),
    fps: float = 10.0,
    server_kills: int = SERVER_KILLS,
    downtime_s: float = SERVER_DOWNTIME_S,
) -> dict[str, Any]:
    """Kill the server, and restart it after `downtime_s`, so many times while cameras run and check every picture.

    Returns what the cameras saw of it. Raises UserError.
    """
    seconds = 60 * minutes
    with served(size) as server:
        fleet = Fleet(
            cameras, f"triton://{server.address}/{SERVED_MODEL}", size, fps, seconds, fallback="bicubic", check=True
        )
        kills: list[tuple[float, float]] = []
        with started(fleet) as processes:
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            begun = time.monotonic()
            for number in range(server_kills):
                time.sleep(max(0.0, begun + (number + 0.6) * seconds / (server_kills + 1) - time.monotonic()))
                killed = time.monotonic()
                server.kill()
                time.sleep(downtime_s)
                server.start()
                kills.append((killed, time.monotonic()))
            result = gather(processes, fleet)
        left = sorted(shared_names() | known_regions(server))
    gaps = [gap for camera in result.cameras for moment, gap in camera["gaps"] if near(moment, kills)]
    return {
        "cameras": cameras,
        "seconds": seconds,
        "kills": len(kills),
        "shown": int(result.total("shown")),
        "dropped": int(result.total("dropped")),
        "fallback": int(result.total("fallback")),
        "wrong": int(result.total("wrong")),
        "unordered": int(result.total("unordered")),
        "recovery_s": [round(max(recovery(camera, ready) for camera in result.cameras), 3) for _, ready in kills],
        "longest_gap_ms": round(1000 * max(gaps, default=0.0)),
        "regions_left": left,
        "fairness": round(result.fairness, 4),
        "load": os.getloadavg(),
    }


def near(moment: float, kills: list[tuple[float, float]]) -> bool:
    """Tell whether a moment lies between a kill and five seconds after the server's return."""
    return any(killed <= moment <= ready + 5 for killed, ready in kills)


def recovery(camera: dict[str, Any], ready: float) -> float:
    """Return the seconds from the server being ready to the first picture that it made for this camera.

    They are infinite if there was none.
    """
    makers = camera["makers"]
    for (moment, name), following in zip(makers, [*makers[1:], (float("inf"), "")], strict=True):
        if name == "triton" and following[0] > ready:
            return float(max(0.0, moment - ready))
    return float("inf")
