"""Figures of a run: rates, latencies and stage times, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from app.pipeline.frame import Frame
from app.pipeline.rate_meter import RateMeter
from engines.base import Spec

STAGES = ("decode", "queue", "engine", "overlay", "sink")


class Samples:
    """The last `capacity` values of a measurement, in milliseconds; all memory is allocated at the start."""

    def __init__(self, capacity: int = 4096) -> None:
        self._values = np.zeros(capacity, np.float32)
        self._count = 0

    def add(self, seconds: float) -> None:
        """Add a value."""
        self._values[self._count % self._values.size] = seconds * 1000
        self._count += 1

    def percentiles(self, *which: float) -> list[float]:
        """Return the percentiles `which` (0 to 100) in milliseconds; 0 before the first value."""
        if not self._count:
            return [0.0] * len(which)
        kept = self._values[: min(self._count, self._values.size)]
        return [round(float(value), 3) for value in np.percentile(kept, which)]


class Stats:
    """Counts and times of a run. Each attribute is written by one thread; any thread may read."""

    def __init__(self) -> None:
        self.captured = self.dropped = 0  # capture thread
        self.arrivals = RateMeter()  # capture thread
        """Frames of the source itself, without those that stand in for a camera that is away."""
        self.spec: Spec | None = None  # main thread, as all that follows
        """The engine that made the last picture; None before the first frame."""
        self.shown = self.fallback = 0
        """`fallback`: shown pictures that another engine made than the one asked for."""
        self.latency = Samples()
        """Capture to shown: the age of a picture when the last sink has taken it."""
        self.engine = Samples()
        """Time the engine worked for one frame, without queueing behind another."""
        self.stages = {stage: Samples() for stage in STAGES}
        self.inside: dict[str, Samples] = {}
        """Stages inside the engine, by the engine's names for them."""
        self._rate = RateMeter()
        self._first = self._last = 0.0  # when pictures were shown, in seconds of time.monotonic()

    def add(self, frame: Frame, *, submitted: float, busy: float, spent: dict[str, float]) -> None:
        """Count a frame that has just gone through all overlays and sinks.

        `submitted`: when it was given to the engine, in seconds of time.monotonic(); `busy`: seconds the engine worked
        for it; `spent`: seconds in the stages "overlay" and "sink".
        """
        now = time.monotonic()
        self.shown += 1
        self.fallback += self.spec is not None and not self.spec.state.ok
        self._first = self._first or now
        self._last = now
        self._rate.add(now)
        self.latency.add(now - frame.captured)
        self.engine.add(busy)
        times = {"decode": frame.decode, "queue": submitted - frame.ready, "engine": busy} | spent
        for stage, seconds in times.items():
            self.stages[stage].add(seconds)

    def stage(self, seconds: Mapping[str, float]) -> None:
        """Count the seconds that an engine reports of its own stages."""
        for name, spent in seconds.items():
            self.inside.setdefault(name, Samples()).add(spent)

    @property
    def interpolated(self) -> bool:
        """Whether the last picture is bicubic in place of a model's: while the engine is away, late or loading."""
        return self.spec is not None and self.spec.is_bicubic and not self.spec.state.ok

    @property
    def seconds(self) -> float:
        """Seconds from the first shown picture to the last."""
        return self._last - self._first

    def fps(self) -> float:
        """Return the pictures shown a second, over the whole run."""
        return (self.shown - 1) / self.seconds if self.shown > 1 and self.seconds > 0 else 0.0

    def fps_now(self) -> float:
        """Return the pictures shown a second, over the last two seconds; falls towards 0 when pictures stop coming."""
        return self._rate.now()

    def as_dict(self) -> dict[str, Any]:
        """Return these figures as --stats has them; times in milliseconds unless the name says otherwise."""
        p50, p95, p99 = self.latency.percentiles(50, 95, 99)
        engine50, engine99 = self.engine.percentiles(50, 99)
        facts = (
            asdict(self.spec) | {"state": str(self.spec.state)} if self.spec else {"input": (0, 0), "output": (0, 0)}
        )
        size = {key: dict(zip(("width", "height"), facts.pop(key), strict=True)) for key in ("input", "output")}
        return {
            "frames_captured": self.captured,
            "frames_dropped": self.dropped,
            "frames_shown": self.shown,
            "frames_fallback": self.fallback,
            "fps_out": round(self.fps(), 3),
            "seconds": round(self.seconds, 3),
            "engine": {**facts, "ms_p50": engine50, "ms_p99": engine99},
            "latency_ms": {"p50": p50, "p95": p95, "p99": p99},
            **size,
            "stages_ms": {
                stage: dict(zip(("p50", "p99"), samples.percentiles(50, 99), strict=True))
                for stage, samples in (self.stages | self.inside).items()
            },
        }
