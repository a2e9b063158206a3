"""Switches an engine's models as the governor decides, and tells of every step: log, overlay, --stats."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from app.governor.policy import Governor, Observation
from app.system.sensors import Reading
from engines.catalog.ladder import Rung
from engines.errors import EngineError, one_line
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

UNKNOWN = 10.0
"""Seconds with an engine but no rate to keep after which it is said that there is none."""
KEPT = 100
"""So many of the last steps are told of in --stats."""


class GovernorDriver:
    """An engines.failover.model_switcher.SwitchPolicy. Lives as long as a run; begin() at each engine."""

    def __init__(self, fps: Callable[[], float], machine: Callable[[], Reading], *, hot: float | None) -> None:
        """`fps` tells the rate to keep, 0 while there is none; `hot` is the limit of temperature, degrees Celsius."""
        self._fps, self._machine, self._hot = fps, machine, hot
        self._begun = time.monotonic()
        self._aimless: float | None = None  # since when there has been no rate; None: there has been one, or it is said
        self._governor: Governor | None = None
        self._names: list[str] = []
        self._steps: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._count = 0
        self.problem = ""
        """That even the smallest model is too slow, in words; else empty."""

    def begin(self, rungs: Sequence[Rung], index: int) -> None:
        """A new engine over these models, which begins with the one numbered `index`."""
        self._names, self.problem, self._aimless = [rung.title for rung in rungs], "", time.monotonic()
        self._governor = Governor([rung.parameters for rung in rungs], index, hot=self._hot)

    # What the model switcher asks, in a thread of its own.

    def decide(self, index: int, busy: float | None) -> int:
        governor, fps, machine, now = self._governor, self._fps(), self._machine(), time.monotonic()
        if governor is None:
            return 0
        self._look_for_aim(fps, now)
        load = busy * fps if busy is not None and fps else None
        look = Observation(now, load, machine.temperature, bool(machine.throttle))
        step = governor.decide(look)
        self.problem = f"{self._names[index]} is too slow for {fps:.4g} fps" if governor.overloaded(look) else ""
        return step

    def _look_for_aim(self, fps: float, now: float) -> None:
        if fps:
            self._aimless = None
        elif self._aimless is not None and now - self._aimless >= UNKNOWN:
            self._aimless = None
            message = "governor: no rate to keep is known, so only the temperature counts; --governor-fps N gives one"
            log_event(log, logging.WARNING, "governor_without_rate", message)

    def accepts(self, index: int, seconds: float) -> bool:
        assert self._governor is not None  # it has decided
        taken = self._governor.accepts(time.monotonic(), seconds * self._fps())
        if not taken:
            message = "governor: %(model)s stays unused: %(frame_ms).1f ms a frame in a trial"
            name, frame_ms = self._names[index], round(1000 * seconds, 3)
            log_event(log, logging.INFO, "governor_trial_failed", message, model=name, frame_ms=frame_ms)
        return taken

    def failed(self, index: int, error: EngineError) -> None:
        assert self._governor is not None
        message = "governor: %(model)s cannot be used: %(reason)s"
        log_event(
            log, logging.WARNING, "governor_model_failed", message, model=self._names[index], reason=one_line(error)
        )
        self._governor.refused(time.monotonic())

    def stepped(self, index: int) -> None:
        assert self._governor is not None
        now, governor = time.monotonic(), self._governor
        before, after = self._names[governor.at], self._names[index]
        governor.stepped(now, index)
        step = {"seconds": round(now - self._begun, 3), "from": before, "to": after, "why": governor.why}
        self._steps.append(step)
        self._count += 1
        message = f"governor: %(before)s -> %(after)s{self._aim(', to keep ')}: %(reason)s"
        log_event(log, logging.INFO, "governor_step", message, before=before, after=after, reason=governor.why)

    # What the report asks.

    def lines(self) -> list[str]:
        """For the overlay."""
        if self._governor is None or not self._steps:
            return []
        last = self._steps[-1]
        ago = time.monotonic() - self._begun - last["seconds"]
        return [f"governor: {last['to']}{self._aim(' for ')} since {ago:.0f} s, {self._count} steps: {last['why']}"]

    def _aim(self, before: str) -> str:
        return f"{before}{fps:.4g} fps" if (fps := self._fps()) else ""

    def as_dict(self) -> dict[str, Any]:
        """For --stats: the rate, the models from small to large, and the last steps; seconds count from the start."""
        return {
            "fps": round(self._fps(), 3),
            "models": self._names,
            "steps": self._count,
            "last_steps": list(self._steps),
        }
