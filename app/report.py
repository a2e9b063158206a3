"""The same figures for all their readers: the overlay, the log, the service manager and --stats."""

from __future__ import annotations

import json
import logging
import textwrap
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import psutil

from app.errors import ConfigError, SinkError
from app.governor.driver import GovernorDriver
from app.pipeline.frame import OutputFrame
from app.pipeline.protocols import Source
from app.pipeline.stats import Stats
from app.pipeline.strength_knob import StrengthKnob
from app.system.sensors import Reading
from app.system.telemetry import Telemetry
from engines.support import atomic_file
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

LOG_PERIOD_S = 5.0
"""Between two lines in the log."""

MAX_COLUMNS = 60
"""Characters in a line of the overlay, for texts of any length."""


@runtime_checkable
class Troubled(Protocol):
    """A part that keeps running while something is wrong with it."""

    @property
    def problem(self) -> str:
        """What is wrong, or "" while all is well."""


class Report:
    """Reads the figures of a session. As a sink it writes a line to the log every few seconds. Main thread only."""

    def __init__(
        self,
        stats: Stats,
        source: Source,
        telemetry: Telemetry,
        parts: Sequence[object] = (),
        governor: GovernorDriver | None = None,
        knob: StrengthKnob | None = None,
        *,
        log_period_s: float = LOG_PERIOD_S,
    ) -> None:
        """Report on these. Of the `parts`, those that are Troubled are asked for their problems.

        `log_period_s`: between two lines in the log.
        """
        self._stats, self._source, self._telemetry = stats, source, telemetry
        self._governor, self._knob = governor, knob
        self._parts = [part for part in parts if isinstance(part, Troubled)]
        self._log_period_s, self._logged_at = log_period_s, time.monotonic()
        self._since = datetime.now().astimezone()

    def lines(self) -> list[str]:
        """Return the lines of the overlay: what a visitor may trust and an engineer wants to know."""
        stats, spec, machine = self._stats, self._stats.spec, self._telemetry.current
        p50, p99 = stats.latency.percentiles(50, 99)
        if spec is None:
            return []
        lines = [
            f"{stats.fps_now():.1f} fps on screen",
            f"engine {stats.engine.percentiles(50)[0]:.1f} ms   age {p50:.0f} ms, p99 {p99:.0f} ms",
            f"{spec.input[0]}x{spec.input[1]} -> {spec.output[0]}x{spec.output[1]}   dropped {stats.dropped}",
            f"{spec.network}, {spec.name}, {spec.device}",
        ]
        if stats.inside:
            inside = (f"{name} {samples.percentiles(50)[0]:.2f} ms" for name, samples in stats.inside.items())
            lines.insert(2, "   ".join(inside))
        if not spec.state.ok:  # wrapped: one long line would make all the others small
            lines += textwrap.wrap(f"{spec.name} ({spec.state})", MAX_COLUMNS)
        if self._governor is not None:
            lines += [line for text in self._governor.lines() for line in textwrap.wrap(text, MAX_COLUMNS)]
        lines += self._machine(machine)
        return lines + [line for text in self._wrong() for line in textwrap.wrap(f"! {text}", MAX_COLUMNS)]

    def _wrong(self) -> list[str]:
        """Return what is wrong at the moment, a line for each."""
        problems = [" ".join(part.problem.split()) for part in self._parts if part.problem]
        return [*self._telemetry.warnings, *problems]

    def status(self) -> str:
        """Return one line for the service manager."""
        spec = self._stats.spec
        replaced = [] if spec is None or spec.state.ok else [str(spec.state)]
        return "; ".join([f"{self._stats.fps_now():.1f} fps", *replaced, *self._wrong()])

    @staticmethod
    def _machine(machine: Reading) -> list[str]:
        figures = {
            "C": machine.temperature,
            "W": machine.power,
            "MHz cpu": machine.cpu_mhz,
            "MHz gpu": machine.gpu_mhz,
        }
        parts = [
            f"{value:.1f} {unit}" if unit == "W" else f"{value:.0f} {unit}" for unit, value in figures.items() if value
        ]
        return ["   ".join(parts)] if parts else []

    def write(self, frame: OutputFrame) -> None:
        """Log a line of figures when it is time to."""
        if time.monotonic() - self._logged_at >= self._log_period_s:
            self._logged_at = time.monotonic()
            figures = ", ".join([self.lines()[0], *self.lines()[1].split("   "), f"dropped {self._stats.dropped}"])
            p50, p99 = self._stats.latency.percentiles(50, 99)
            log_event(
                log,
                logging.INFO,
                "statistics",
                "%(figures)s",
                figures=figures,
                fps=round(self._stats.fps_now(), 2),
                engine_ms=round(self._stats.engine.percentiles(50)[0], 2),
                age_p50_ms=round(p50, 1),
                age_p99_ms=round(p99, 1),
                dropped=self._stats.dropped,
            )

    def as_dict(self, recordings: Sequence[dict[str, Any]], segmented: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return all figures as --stats has them, with those of the `recordings` and of the segmented recording.

        They cover one session: since the start, or since the last reload.
        """
        figures, machine = self._stats.as_dict(), self._telemetry.current
        figures["input"]["fps"] = self._source.fps
        return figures | {
            "source": self._source.name,
            "since": self._since.isoformat(timespec="seconds"),
            "recording": recordings[-1] if recordings else segmented,
            "recordings": list(recordings),
            "segmented_recording": segmented,
            "peak_memory_mb": round(peak_memory() / 2**20, 1),
            "governor": self._governor.as_dict() if self._governor is not None else None,
            "strength": self._knob.as_dict() if self._knob is not None else None,
            "camera": getattr(self._source, "facts", dict)(),
            "machine": {
                "temperature_c": machine.temperature,
                "hottest_c": self._telemetry.hottest,
                "power_w": machine.power,
                "cpu_percent": machine.cpu,
                "gpu_percent": machine.gpu,
                "cpu_mhz": machine.cpu_mhz,
                "gpu_mhz": machine.gpu_mhz,
                "throttle": machine.throttle,
                "warnings": self._telemetry.warnings,
            },
        }


def peak_memory() -> int:
    """Return the largest resident size that this process has had, in bytes."""
    try:
        # Not getrusage(): over fork and exec its figure carries the parent's peak along (getrusage(2), proc(5)).
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        return int(psutil.Process().memory_info().rss)


def check_writable(path: Path) -> None:
    """Raise ConfigError now rather than at the end of a long run if `path` cannot be written."""
    try:
        atomic_file.check(path)
    except OSError as error:
        raise ConfigError(
            f"The figures cannot be written to {path}", error.strerror or str(error), "Give another --stats FILE."
        ) from None


def save_figures(path: Path, figures: dict[str, Any]) -> None:
    """Write `figures` to `path` as JSON, whole or not at all. Raises SinkError."""
    try:
        atomic_file.write_atomic(path, (json.dumps(figures, indent=2) + "\n").encode(), parents=True)
    except OSError as error:
        first = "Let a program read it" if isinstance(error, TimeoutError) else "Make room on the disk"
        raise SinkError(
            f"The figures cannot be written to {path}",
            error.strerror or str(error),
            f"{first}, or give another --stats FILE.",
        ) from None
