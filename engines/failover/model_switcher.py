"""One engine over a family of models, which goes from one model to the next between two frames.

A driver decides when; see app/governor/policy.py. The smallest model is always loaded, so that going down takes no time
when the machine has none, and goes as far as it may have to; the next larger one is loaded when the driver asks for it,
by a thread of low priority, and tried out before it is used. No frame is lost and none overtakes another: frames that
are in the model before come out of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from engines.base import Image, T
from engines.errors import EngineError
from engines.failover.candidates import Candidate, CandidateList, Retry
from engines.failover.engine import FailoverEngine
from engines.support.priority import low_priority

log = logging.getLogger(__name__)

DECISION_PERIOD_S = 0.1
"""Seconds between two questions to the driver."""
COST_WINDOW_S, MIN_COST_FRAMES = 0.8, 3
"""What a frame costs is the mean over so many seconds, of so many frames at least."""
COST_EXPIRY_S = 5.0
"""Seconds after which a frame's cost tells nothing of now."""
RELOAD_AFTER_S = 30.0
"""Seconds until a model that could not be loaded is tried again."""
TRIAL_FRAMES, MIN_TRIAL_S = 5, 0.4
"""A larger model makes so many pictures that nobody sees, in so many seconds at least, to know what it costs.
One at once after the other: who pauses in between gets more of a busy processor than is his share, and more than later.
"""
TRIAL_TIMEOUT_S = 2.0
"""Seconds that one of them may take."""
NO_MODEL_FITS = "no model keeps the rate here"


class SwitchRung(NamedTuple):
    """One model, and the engines that can run it; none of them: bicubic."""

    name: str
    choices: Sequence[Candidate]


class SwitchPolicy(Protocol):
    """Who decides. Called by one thread."""

    def decide(self, gear: int, busy: float | None) -> int:
        """1 to go to the next larger model, -1 to go down, 0 to stay.

        `busy`: seconds the engine works for a frame just now; None: not known; infinite: it has failed.
        The answer is asked for again until the model wanted is loaded.
        """

    def accepts(self, gear: int, seconds: float) -> bool:
        """Whether to go up to `gear`, which took `seconds` a frame beside the engine in use."""

    def failed(self, gear: int, error: EngineError) -> None:
        """The larger model that was asked for cannot be loaded."""

    def stepped(self, gear: int) -> None:
        """From the next frame on `gear` makes the picture."""


class ModelSwitcher(FailoverEngine[T]):
    """A FailoverEngine whose lineup changes with the gear. `gear` is the one in use."""

    def __init__(
        self,
        gears: Sequence[SwitchRung],
        size: tuple[int, int],
        driver: SwitchPolicy,
        *,
        gear: int,
        scale: int | None,
        depth: int,
        retry: Retry | None = None,
        cancel: Callable[[], None] = lambda: None,
    ) -> None:
        """`gears` smallest first, all of one scale; it begins with `gear`, a network, as FailoverEngine has it.

        `cancel` ends, at the end, a load that takes long.
        """
        self.gear = gear
        self._gears, self._driver, self._cancel = gears, driver, cancel
        self._recent: deque[tuple[float, float]] = deque(maxlen=256)
        self._wanted: set[int] = set()
        self._ready: dict[int, CandidateList] = {}
        self._errors: dict[int, EngineError] = {}
        self._due: dict[int, float] = {}
        self._over = threading.Event()
        super().__init__(gears[gear].choices, size, scale=scale, depth=depth, retry=retry)
        self._want_spare()
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for work, name in ((self._load_wanted, "gearbox loader"), (self._steer, "gearbox"))
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> ModelSwitcher[T]:
        return self

    def collect(self, timeout: float) -> tuple[Image, T, float] | None:
        done = super().collect(timeout)
        if done is not None:
            self._recent.append((time.monotonic(), done[2]))
        return done

    # The thread that steers.

    def _steer(self) -> None:
        while not self._over.wait(DECISION_PERIOD_S):
            way = self._driver.decide(self.gear, self._busy())
            target = self.gear + 1 if way > 0 else self._below() if way < 0 else self.gear
            if target == self.gear or not 0 <= target < len(self._gears):
                continue
            if target > self.gear and (error := self._errors.pop(target, None)):
                self._want_spare()
                self._driver.failed(target, error)
            elif self._prepared(target) and (target < self.gear or self._tried(target)):
                self._shift(target)

    def _busy(self) -> float | None:
        """What a frame costs just now; see Driver."""
        with self._guard:
            lineup, now = self._lineup, time.monotonic()
            if lineup.records and lineup.primary is None:
                failed = [record.failed[-1] for record in lineup.records if record.failed]
                return float("inf") if failed and now - max(failed) < COST_EXPIRY_S else None
        recent = [entry for entry in list(self._recent) if now - entry[0] < COST_EXPIRY_S]
        fresh = [entry for entry in recent if now - entry[0] < COST_WINDOW_S]
        told = fresh if len(fresh) >= MIN_COST_FRAMES else recent[-MIN_COST_FRAMES:]
        return sum(busy for _, busy in told) / len(told) if len(told) >= MIN_COST_FRAMES else None

    def _prepared(self, gear: int) -> bool:
        """Whether `gear` is loaded; from now on that is seen to."""
        with self._guard:
            self._wanted.add(gear)
            self._guard.notify_all()
            return gear in self._ready or not self._gears[gear].choices

    def _tried(self, gear: int) -> bool:
        """Let `gear`, which is loaded, make some pictures that nobody sees; whether the driver takes it."""
        lineup, seconds = self._ready.get(gear), list[float]()
        try:
            if lineup is None or (primary := lineup.primary) is None or primary.failed:
                raise EngineError(f"{self._gears[gear].name} is not there any more")
            blank, slot = np.zeros((self.spec.input[1], self.spec.input[0], 3), np.uint8), primary.engine.slots[0]
            while len(seconds) < TRIAL_FRAMES or sum(seconds) < MIN_TRIAL_S:
                if self._over.is_set():
                    return False
                begun = time.monotonic()
                primary.unanswered.add(0)
                slot.launch(blank)
                slot.wait(TRIAL_TIMEOUT_S)
                primary.unanswered.discard(0)
                seconds.append(slot.finished - begun)
        except (EngineError, TimeoutError) as error:
            slow = EngineError(f"{self._gears[gear].name} is too slow", f"no answer within {TRIAL_TIMEOUT_S:g} s")
            self._want_spare()
            self._driver.failed(gear, slow if isinstance(error, TimeoutError) else error)
            return False
        if self._driver.accepts(gear, sum(seconds) / len(seconds)):
            return True
        self._want_spare()
        return False

    def _shift(self, gear: int) -> None:
        """Make the picture with `gear` from the next frame on."""
        with self._guard:
            if self._over.is_set():
                return
            self._wanted.clear()  # what is taken here is not to be loaded once more
            lineup = self._ready.pop(gear, None) or CandidateList(())
        before = self.change(lineup, "" if self._gears[gear].choices else NO_MODEL_FITS)
        with self._guard:
            if before.primary is not None:
                self._ready[self.gear] = before
            self.gear = gear
        self._recent.clear()
        self._want_spare()
        self._driver.stepped(gear)

    def _below(self) -> int:
        """Where to go down to: the smallest network, and from there to bicubic, if that is one of the gears."""
        smallest = next(number for number, gear in enumerate(self._gears) if gear.choices)
        return smallest if self.gear > smallest else self.gear - 1

    def _want_spare(self) -> None:
        """Have that ready, if it has to be loaded, and no other gear."""
        below = self._below()
        self._want({below} if below >= 0 and self._gears[below].choices else set())

    def _want(self, gears: set[int]) -> None:
        with self._guard:
            self._wanted = gears
            unwanted = [self._ready.pop(one) for one in list(self._ready) if one not in gears]
            self._guard.notify_all()
        for lineup in unwanted:
            self.drop(lineup)

    # The thread that loads.

    def _load_wanted(self) -> None:
        while (gear := self._missing()) is not None:
            lineup: CandidateList | None = None
            try:
                with low_priority():
                    lineup = self.prepare(self._gears[gear].choices)
            except EngineError as error:
                with self._guard:
                    self._errors[gear], self._due[gear] = error, time.monotonic() + RELOAD_AFTER_S
                log.info("%s cannot be had: %s", self._gears[gear].name, error.facts or error.problem)
            self._recent.clear()  # loading may have cost the picture something
            with self._guard:
                if lineup is not None and gear in self._wanted and not self._ending:
                    self._ready[gear], lineup = lineup, None
                    self._errors.pop(gear, None)
            if lineup is not None:
                self.drop(lineup)

    def _missing(self) -> int | None:
        """The gear to be loaded now, the smallest first, once the one in use works; None at the end."""
        with self._guard:
            while not self._ending:
                now = time.monotonic()
                absent = sorted(self._wanted - set(self._ready)) if self._lineup.primary or not self._choices() else []
                if due := [gear for gear in absent if self._due.get(gear, 0.0) <= now]:
                    return due[0]
                self._guard.wait(min((self._due[gear] - now for gear in absent), default=None))
        return None

    def _choices(self) -> Sequence[Candidate]:
        return self._gears[self.gear].choices

    def _end(self) -> None:
        self._over.set()
        self._cancel()
        self._threads[-1].join(self.farewell)  # it may be about to change something
        super()._end()
        self._want(set())
        for thread in self._threads:
            thread.join(self.farewell)
        for disposal in self._disposals:
            disposal.join(self.farewell)
