"""An engine that goes on by itself while the engines it stands for are late, broken or away.

A supervisor thread keeps the first engine of a list that works, in the background and with growing pauses. A frame goes
to that engine; if its answer is late or fails, the frame is enlarged bicubically from the input it already holds, and
so are the frames after it until an engine is there again. What answers late writes into buffers nobody reads any more.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engines.base import Image, Spec, T, stages
from engines.bicubic import enlarge
from engines.errors import EngineError, FrameRefusedError, as_engine_error
from engines.failover.candidates import ActiveEngine, Candidate, CandidateHealth, CandidateList, Retry, with_reason
from engines.slot_engine import SlotEngine

log = logging.getLogger(__name__)

DRAIN_TIMEOUT_S = 2.0
"""Seconds that all unanswered frames of an engine that is given up may take before its buffers are freed."""
MAX_REFUSALS = 5
"""So many frames in a row that an engine does not take, and it is given up; fewer are enlarged here and no more."""


class FailoverSlot:
    """One frame on its way through the engine in use, or enlarged here."""

    def __init__(self, standby: FailoverEngine[Any], index: int) -> None:
        self._standby, self._index = standby, index
        width, height = standby.local.input
        self._own: Image = np.empty((height, width, 3), np.uint8)
        self._output: Image = np.empty((standby.local.output[1], standby.local.output[0], 3), np.uint8)
        self._primary: ActiveEngine | None = None
        self._launched = 0.0
        self._state = ""
        self.input: Image = self._own
        self.finished = 0.0
        self.stages: Mapping[str, float] = {}
        """Those of the engine that made the picture; bicubic has none."""
        self.spec = standby.local

    def launch(self, image: Image) -> None:
        self._standby.leave(self._primary)  # the view lent of its output has been given back
        # The state of now, not of when it is done: by then the first choice may be back, and this frame is not its.
        self._primary, self._state = self._standby.enter()
        primary, self._launched = self._primary, time.monotonic()
        if primary is not None:
            slot = primary.engine.slots[self._index]
            primary.unanswered.add(self._index)
            try:
                slot.launch(image)
                self.input = slot.input
                return
            except EngineError as error:
                primary.unanswered.discard(self._index)
                self._state = self._standby.fail(primary, error)
        np.copyto(self._own, image)
        self.input = self._own

    def wait(self, timeout: float) -> Image:
        primary = self._primary
        if primary is not None and self.input is not self._own:
            slot, patience = primary.engine.slots[self._index], primary.record.choice.patience
            # Patience with this frame alone: it may have waited in a queue behind the one before it.
            until = max(self._launched, primary.last_done) + patience
            try:
                image = slot.wait(0.0 if primary.failed else max(0.0, min(timeout, until - time.monotonic())))
            except TimeoutError:
                if not primary.failed and time.monotonic() < until:
                    raise
                late = EngineError(
                    f"{primary.record.choice.name} is late", f"no answer within {patience * 1000:.0f} ms"
                )
                self._state = self._standby.fail(primary, late)
            except FrameRefusedError as error:
                primary.unanswered.discard(self._index)
                primary.refused += 1
                self._state = f"{primary.record.choice.name}: {error.facts}"
                if primary.refused >= MAX_REFUSALS:
                    self._state = self._standby.fail(primary, error)
            except EngineError as error:
                primary.unanswered.discard(self._index)
                self._state = self._standby.fail(primary, error)
            else:
                primary.unanswered.discard(self._index)
                primary.refused = 0
                self.finished = primary.last_done = slot.finished
                self.stages = stages(slot)
                self.spec = with_reason(primary.spec, self._state if primary.record.rank else "")
                return image
        enlarge(self.input, self._output)
        self.finished = time.monotonic()
        self.stages = {}
        self.spec = with_reason(self._standby.local, self._state)
        return self._output

    def close(self) -> None:
        self._standby.leave(self._primary)
        self._primary = None


class FailoverEngine(SlotEngine[T]):
    """An engine over a list of engines, the most wanted first; bicubic while none of them works.

    `spec` is that of the engine that made the picture collected last; its `state` says why, unless that was the first
    of the list.
    """

    farewell = 2 * DRAIN_TIMEOUT_S
    """Seconds to wait at the end for an engine that is being loaded, and for each that is being freed."""

    def __init__(
        self,
        choices: Sequence[Candidate],
        size: tuple[int, int],
        *,
        scale: int | None,
        depth: int,
        retry: Retry | None = None,
    ) -> None:
        """With `scale` None the first choice is loaded now, which decides the scale, and its EngineError comes out.

        With a scale the picture begins at once, bicubic, and the supervisor looks for an engine of that scale.
        """
        self._retry = retry or Retry()
        self._lineup = CandidateList(choices)
        self._guard = threading.Condition()
        self._ending = False
        self.state = f"{choices[0].name} is not there yet"
        """Why it is not the first choice that is in use; empty when it is."""
        first: ActiveEngine | None = None
        if scale is None:
            first = ActiveEngine(as_engine_error(choices[0].name, choices[0].load), self._lineup.records[0])
            scale = first.spec.scale
        output = (size[0] * scale, size[1] * scale)
        self.local = Spec("bicubic", "CPU", "bicubic", "u8", scale, size, output)
        """What the picture is made with meanwhile."""
        super().__init__(self.local, [FailoverSlot(self, index) for index in range(depth)], close=self._end)
        self._disposals: list[threading.Thread] = []
        self.spec = with_reason(self.local, self.state)
        if first is not None:
            self._check(first)
            self._lineup.primary, self.state, self.spec = first, "", first.spec
        self._supervisor = threading.Thread(target=self._supervise, name="standby", daemon=True)
        self._supervisor.start()

    def __enter__(self) -> FailoverEngine[T]:
        return self

    def collect(self, timeout: float) -> tuple[Image, T, float] | None:
        done = super().collect(timeout)
        if isinstance(self._lent, FailoverSlot):
            self.spec = self._lent.spec
        return done

    def say(self, text: str) -> None:
        """Why there is no engine yet, in words of the one that is being loaded. From any thread."""
        with self._guard:
            if self._lineup.primary is None:
                self.state = text

    # For the slots.

    def enter(self) -> tuple[ActiveEngine | None, str]:
        """The engine to use, whose buffers stay until leave(), None when there is none; and the state it is in."""
        with self._guard:
            if self._lineup.primary is not None:
                self._lineup.primary.holders += 1
            return self._lineup.primary, self.state

    def leave(self, primary: ActiveEngine | None) -> None:
        """Give up what enter() gave."""
        if primary is not None:
            with self._guard:
                primary.holders -= 1
                self._guard.notify_all()

    def fail(self, primary: ActiveEngine, error: EngineError) -> str:
        """Give the engine up, for the first error it is given. Returns at once; the supervisor does the rest."""
        with self._guard:
            if primary.failed:
                return primary.why
            primary.failed = True
            self._note(primary.record, error)
            primary.why = self.state if primary.record.rank else primary.record.told
            if self._lineup.primary is primary:
                self._lineup.primary = None
            self._guard.notify_all()
        self._dispose(primary)
        return primary.why

    # For whoever changes between lineups (engines.failover.model_switcher).

    def prepare(self, choices: Sequence[Candidate]) -> CandidateList:
        """Load the first of `choices` that works, beside the engine in use and in the caller's thread, for change().

        Raises EngineError, the first choice's.
        """
        lineup, errors = CandidateList(choices), []
        for record in lineup.records:
            try:
                lineup.primary = self._load(record)
                break
            except EngineError as error:
                errors.append(error)
                record.fail(error, self._retry, time.monotonic())
        else:
            if errors:
                raise errors[0]
        return lineup

    def change(self, lineup: CandidateList, state: str = "") -> CandidateList:
        """Make the picture with `lineup` from the next frame on; `state` says why, if that is a fault.

        Returns the lineup before, which stays loaded until drop(); frames that are in it come out in their turn.
        """
        with self._guard:
            before, self._lineup = self._lineup, lineup
            if lineup.primary is not None and lineup.primary.failed:
                lineup.primary = None
            self.state = state or (lineup.records[0].told if lineup.records else "")
            self._guard.notify_all()
        return before

    def drop(self, lineup: CandidateList) -> None:
        """Free what prepare() or change() gave, once no frame is in it any more."""
        primary, lineup.primary = lineup.primary, None
        if primary is not None:
            self._dispose(primary)

    # The supervisor.

    def _note(self, record: CandidateHealth, error: EngineError, spent: float = 0.0) -> None:
        news = not record.told
        record.fail(error, self._retry, time.monotonic(), spent)
        if record in self._lineup.records[:1]:
            self.state = record.told
        (log.warning if news else log.debug)("%s", record.told)

    def _supervise(self) -> None:
        while (record := self._next()) is not None:
            begun = time.monotonic()
            try:
                primary = self._load(record)
            except EngineError as error:
                with self._guard:
                    self._note(record, error, time.monotonic() - begun)
            else:
                self._publish(primary)

    def _load(self, record: CandidateHealth) -> ActiveEngine:
        """Raises EngineError."""
        primary = ActiveEngine(as_engine_error(record.choice.name, record.choice.load), record)
        self._check(primary)
        return primary

    def _next(self) -> CandidateHealth | None:
        """The choice to be loaded now, as soon as there is one; None at the end."""
        with self._guard:
            while not self._ending:
                now = time.monotonic()
                wanted = []
                current = self._lineup.primary
                for record in self._lineup.records[: None if current is None else current.record.rank]:
                    wanted.append(record)
                    if not record.often(self._retry, now):
                        break  # those behind it have their turn when it has failed often
                ready = next((record for record in wanted if record.due <= now), None)
                if ready is not None:
                    return ready
                self._guard.wait(min((record.due - now for record in wanted), default=None))
        return None

    def _check(self, primary: ActiveEngine) -> None:
        """Raise EngineError, with the engine freed, if it does not make the picture that is being shown."""
        spec, slots = primary.spec, primary.engine.slots
        if (spec.input, spec.output) == (self.local.input, self.local.output) and len(slots) >= len(self.slots):
            return
        primary.engine.free()
        raise EngineError(
            f"{primary.record.choice.name} makes another picture",
            f"{spec} in {len(slots)} slots; wanted is {self.local.output} in {len(self.slots)}",
            "Use models of the same scale.",
        )

    def _publish(self, primary: ActiveEngine) -> None:
        with self._guard:
            if self._ending or primary.record not in self._lineup.records:  # changed while it was being loaded
                superfluous: ActiveEngine | None = primary
            else:
                superfluous, self._lineup.primary = self._lineup.primary, primary
                self._tell(primary)
            self._guard.notify_all()
        if superfluous is not None:
            self._dispose(superfluous)

    def _tell(self, primary: ActiveEngine) -> None:
        """That it is in use."""
        if primary.record.rank == 0:
            self.state = ""
        if primary.record.told:
            log.warning("%s: here again", primary.spec)
            primary.record.told = ""
        elif primary.record.rank:
            log.warning("%s takes over (%s)", primary.spec, self.state)
        else:
            log.info("%s", primary.spec)

    def _dispose(self, primary: ActiveEngine) -> None:
        """Free an engine once no slot holds on to it, in a thread of its own: a hung one must hold up nothing."""

        def dispose() -> None:
            with self._guard:
                self._guard.wait_for(lambda: not primary.holders)
            until = time.monotonic() + DRAIN_TIMEOUT_S
            for index in list(primary.unanswered):
                with contextlib.suppress(TimeoutError, EngineError):
                    primary.engine.slots[index].wait(max(0.0, until - time.monotonic()))
            primary.engine.free()

        thread = threading.Thread(target=dispose, name="standby disposal", daemon=True)
        with self._guard:
            if primary.freed:  # given up while frames were still in it, which then failed
                return
            primary.freed = True
            thread.start()  # before anybody may want to join it
            self._disposals = [*(old for old in self._disposals if old.is_alive()), thread]

    def _end(self) -> None:
        """After all slots are closed: stop the supervisor, free the engine in use and those still being freed."""
        with self._guard:
            self._ending = True
            current, self._lineup = self._lineup, CandidateList(())
            self._guard.notify_all()
        self.drop(current)
        self._supervisor.join(self.farewell)  # it may be in the middle of loading one
        for thread in self._disposals:
            thread.join(self.farewell)
