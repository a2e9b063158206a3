"""Lets the governor steer an engine's model switcher, and reports every step: in the log, the overlay and --stats."""

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

RATE_UNKNOWN_AFTER_S = 10.0
"""Time with an engine but no rate to keep after which that is logged."""
MAX_REPORTED_STEPS = 100
"""How many of the last steps --stats holds."""


class GovernorDriver:
    """A SwitchPolicy of engines.failover.model_switcher. Lives as long as a session; begin() at each engine.

    The model switcher's own thread calls decide(), accepts(), failed() and stepped(), and writes what they write.
    The main thread calls the rest, as_dict() once the switcher has ended; no lock is needed.
    """

    def __init__(self, fps: Callable[[], float], machine: Callable[[], Reading], *, hot: float | None) -> None:
        """Steer by these.

        Args:
            fps: Returns the rate to keep; 0 while there is none.
            machine: Returns the latest reading of the machine.
            hot: The limit of temperature in degrees Celsius; None for no limit.
        """
        self._fps, self._machine, self._hot = fps, machine, hot
        self._began = time.monotonic()
        self._without_rate_since: float | None = None  # None: there is a rate, or it was logged
        self._governor: Governor | None = None
        self._names: list[str] = []
        self._steps: deque[dict[str, Any]] = deque(maxlen=MAX_REPORTED_STEPS)
        self._step_count = 0
        self.problem = ""
        """Says that even the smallest model is too slow; else empty."""

    def begin(self, rungs: Sequence[Rung], index: int) -> None:
        """Take on a new engine, which has these models and begins with the one numbered `index`."""
        self._names, self.problem, self._without_rate_since = [rung.title for rung in rungs], "", time.monotonic()
        self._governor = Governor([rung.parameters for rung in rungs], index, hot=self._hot)

    # What the model switcher calls, in a thread of its own.

    def decide(self, index: int, busy: float | None) -> int:
        """Return 1 for the next larger model, -1 for a smaller one, 0 to keep `index`, which takes `busy` s a frame."""
        governor, fps, machine, now = self._governor, self._fps(), self._machine(), time.monotonic()
        if governor is None:
            return 0
        self._check_rate(fps, now)
        load = busy * fps if busy is not None and fps else None
        observation = Observation(now, load, machine.temperature, bool(machine.throttle))
        step = governor.decide(observation)
        self.problem = f"{self._names[index]} is too slow for {fps:.4g} fps" if governor.overloaded(observation) else ""
        return step

    def _check_rate(self, fps: float, now: float) -> None:
        if fps:
            self._without_rate_since = None
        elif self._without_rate_since is not None and now - self._without_rate_since >= RATE_UNKNOWN_AFTER_S:
            self._without_rate_since = None
            message = "governor: no rate to keep is known, so only the temperature counts; --governor-fps N gives one"
            log_event(log, logging.WARNING, "governor_without_rate", message)

    def accepts(self, index: int, seconds: float) -> bool:
        """Decide whether `index` is taken, which needed `seconds` a frame in a trial."""
        assert self._governor is not None  # it has decided
        taken = self._governor.accepts(time.monotonic(), seconds * self._fps())
        if not taken:
            message = "governor: %(model)s stays unused: %(frame_ms).1f ms a frame in a trial"
            name, frame_ms = self._names[index], round(1000 * seconds, 3)
            log_event(log, logging.INFO, "governor_trial_failed", message, model=name, frame_ms=frame_ms)
        return taken

    def failed(self, index: int, error: EngineError) -> None:
        """Note that `index` cannot be loaded, or fails in its trial."""
        assert self._governor is not None
        message = "governor: %(model)s cannot be used: %(reason)s"
        log_event(
            log, logging.WARNING, "governor_model_failed", message, model=self._names[index], reason=one_line(error)
        )
        self._governor.refused(time.monotonic())

    def stepped(self, index: int) -> None:
        """Note that `index` is in use now."""
        assert self._governor is not None
        now, governor = time.monotonic(), self._governor
        before, after = self._names[governor.at], self._names[index]
        governor.stepped(now, index)
        step = {"seconds": round(now - self._began, 3), "from": before, "to": after, "why": governor.why}
        self._steps.append(step)
        self._step_count += 1
        message = f"governor: %(before)s -> %(after)s{self._rate_text(', to keep ')}: %(reason)s"
        log_event(log, logging.INFO, "governor_step", message, before=before, after=after, reason=governor.why)

    # What the report reads.

    def lines(self) -> list[str]:
        """Return the lines of the overlay."""
        if self._governor is None or not self._steps:
            return []
        last = self._steps[-1]
        ago = time.monotonic() - self._began - last["seconds"]
        steps = f"{self._step_count} steps: {last['why']}"
        return [f"governor: {last['to']}{self._rate_text(' for ')} since {ago:.0f} s, {steps}"]

    def _rate_text(self, before: str) -> str:
        return f"{before}{fps:.4g} fps" if (fps := self._fps()) else ""

    def as_dict(self) -> dict[str, Any]:
        """Return what --stats holds: the rate, the models from small to large, the last steps and when they were."""
        return {
            "fps": round(self._fps(), 3),
            "models": self._names,
            "steps": self._step_count,
            "last_steps": list(self._steps),
        }
