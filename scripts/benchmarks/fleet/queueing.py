"""Simulate one server and its live cameras as a queue, event by event.

Of each camera only the newest frame waits, and some are in flight; Triton's dynamic batcher gathers what has arrived;
the device takes a + b * n seconds for a batch of n.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ServerModel:
    """A server and its cameras. Times in seconds."""

    cameras: int
    fps: float = 30.0
    fixed: float = 0.0
    """Of each batch."""
    each: float = 0.02
    """Of each frame in it."""
    batch: int = 8
    gather: float = 0.0033
    """How long the batcher waits for more frames."""
    depth: int = 2
    frame_timeout_s: float = 0.25
    """When the camera continues with its fallback."""
    jitter: float = 0.002
    """Of a camera's clock, one standard deviation."""
    network_s: float = 0.0
    """Seconds that a frame and its answer take through the network."""

    @property
    def overloaded(self) -> bool:
        """Whether frames come at least as fast as full batches are done.

        Then a queue grows, however slowly.
        """
        return self.cameras * self.fps * (self.fixed + self.batch * self.each) >= self.batch


@dataclass(frozen=True)
class QueueOutcome:
    """What the simulated cameras saw; ages in milliseconds, shares of all captured frames."""

    fps: float
    p50: float
    p99: float
    dropped: float
    late: float


class Simulation:
    """The events, and what is counted of them from the second `begin` on."""

    def __init__(self, model: ServerModel, begin: float, seed: int) -> None:
        self._model, self._begin = model, begin
        self._chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[float, int], None], int]] = []
        self._number = itertools.count()  # of the event: of those at one moment the first that was planned comes first
        self._phases = [self._chance.random() / model.fps for _ in range(model.cameras)]
        self._frames = [0] * model.cameras
        self._flying = [0] * model.cameras
        self._newest: list[float | None] = [None] * model.cameras
        self._queue: deque[tuple[float, float, int]] = deque()  # when it came, when it was captured, whose
        self._working: list[tuple[float, float, int]] = []
        self.captured = self.dropped = self.late = 0
        self.ages: list[float] = []
        """Seconds from capture to the answer, of each frame that was answered."""
        for camera, phase in enumerate(self._phases):
            self._at(phase, self._capture, camera)

    def run(self, seconds: float) -> None:
        """Run the events of the first `seconds`."""
        while self._events:
            now, _, happen, which = heapq.heappop(self._events)
            if now > seconds:
                return
            happen(now, which)
            self._start(now)

    def _at(self, moment: float, happen: Callable[[float, int], None], which: int = 0) -> None:
        heapq.heappush(self._events, (moment, next(self._number), happen, which))

    def _capture(self, now: float, camera: int) -> None:
        model = self._model
        self._frames[camera] += 1
        due = self._phases[camera] + self._frames[camera] / model.fps + self._chance.gauss(0, model.jitter)
        self._at(max(now, due), self._capture, camera)
        self.captured += now >= self._begin
        if self._flying[camera] < model.depth:
            self._flying[camera] += 1
            self._queue.append((now, now, camera))
        else:
            self.dropped += self._newest[camera] is not None and now >= self._begin
            self._newest[camera] = now

    def _start(self, now: float) -> None:
        """Start the next batch if the device is free and the batcher has waited long enough."""
        model, queue = self._model, self._queue
        if self._working or not queue:
            return
        ripe = queue[0][0] + model.gather
        if len(queue) < model.batch and now < ripe - 1e-9:
            self._at(ripe, self._look)
            return
        self._working.extend(queue.popleft() for _ in range(min(model.batch, len(queue))))
        self._at(now + model.fixed + model.each * len(self._working), self._done)

    def _look(self, now: float, _which: int) -> None:
        """Do nothing: the batcher has waited long enough, and _start() follows every event."""

    def _done(self, now: float, _which: int) -> None:
        model = self._model
        for _, taken, camera in self._working:
            if now >= self._begin:
                self.ages.append(now - taken + model.network_s)
                self.late += now - taken + model.network_s > model.frame_timeout_s
            waiting, self._newest[camera] = self._newest[camera], None
            if waiting is None:
                self._flying[camera] -= 1
            else:
                self._queue.append((now, waiting, camera))
        self._working.clear()


def simulate(model: ServerModel, seconds: float = 20.0, seed: int = 0) -> QueueOutcome:
    """Simulate one server for `seconds`, of which the first tenth is not counted."""
    begin = seconds / 10
    seen = Simulation(model, begin, seed)
    seen.run(seconds)
    p50, p99 = np.percentile(seen.ages, [50, 99]) * 1000 if seen.ages else (math.inf, math.inf)
    captured = max(1, seen.captured)
    fps = len(seen.ages) / (seconds - begin)
    return QueueOutcome(fps, float(p50), float(p99), seen.dropped / captured, seen.late / captured)
