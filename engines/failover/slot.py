"""One frame on its way through the engine in use, enlarged bicubically where that engine is late, broken or away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from engines.base import OK, Condition, EngineState, Image, Spec, stages
from engines.bicubic import enlarge
from engines.errors import EngineError, FrameRefusedError
from engines.failover.candidates import ActiveEngine, with_state

MAX_REFUSALS = 5
"""So many frames in a row that an engine does not take, and it is given up; fewer are enlarged here and no more."""


class SlotOwner(Protocol):
    """What a slot needs of the FailoverEngine that it belongs to. From any thread."""

    bicubic_spec: Spec
    """What the picture is made with while there is no engine."""

    def enter(self) -> tuple[ActiveEngine | None, EngineState]:
        """Return the engine to use, whose buffers stay until leave(), None when there is none; and the state."""

    def leave(self, active: ActiveEngine | None) -> None:
        """Give up what enter() returned."""

    def fail(self, active: ActiveEngine, error: EngineError) -> EngineState:
        """Give the engine up, for the first error it is given, and return the state."""


class FailoverSlot:
    """One frame on its way through the engine in use, or enlarged here."""

    def __init__(self, failover: SlotOwner, index: int) -> None:
        """Allocate the buffers for what is enlarged here."""
        self._failover, self._index = failover, index
        (width, height), (out_width, out_height) = failover.bicubic_spec.input, failover.bicubic_spec.output
        self._own_input: Image = np.empty((height, width, 3), np.uint8)
        self._output: Image = np.empty((out_height, out_width, 3), np.uint8)
        # For the thread that has the slot: the submitter until launch() returns, then the collector.
        self._active: ActiveEngine | None = None
        self._launched = 0.0
        self._state = OK
        self.input: Image = self._own_input
        self.finished = 0.0
        self.stages: Mapping[str, float] = {}
        """Those of the engine that made the picture; bicubic has none."""
        self.spec = failover.bicubic_spec
        """What made the picture that wait() returned last."""

    def launch(self, image: Image) -> None:
        """Copy `image`, uint8 [H, W, 3], into the engine in use, or keep it here if there is none."""
        self._failover.leave(self._active)  # nobody borrows its output any more
        # The state of now, not of when it is done: by then the first choice may be back, and this frame is not its.
        self._active, self._state = self._failover.enter()
        active, self._launched = self._active, time.monotonic()
        if active is not None:
            slot = active.engine.slot(self._index)
            active.unanswered.add(self._index)
            try:
                slot.launch(image)
                self.input = slot.input
                return
            except EngineError as error:
                active.unanswered.discard(self._index)
                self._state = self._failover.fail(active, error)
        np.copyto(self._own_input, image)
        self.input = self._own_input

    def wait(self, timeout: float) -> Image:
        """Return the engine's picture, or a bicubic one when that is late or fails. Raises TimeoutError."""
        active = self._active
        if active is not None and self.input is not self._own_input:
            image = self._wait_for(active, timeout)
            if image is not None:
                return image
        enlarge(self.input, self._output)
        self.finished = time.monotonic()
        self.stages = {}
        self.spec = with_state(self._failover.bicubic_spec, self._state)
        return self._output

    def _wait_for(self, active: ActiveEngine, timeout: float) -> Image | None:
        """The engine's picture; None if the frame has to be enlarged here. Raises TimeoutError."""
        candidate, slot = active.health.candidate, active.engine.slot(self._index)
        # The timeout is this frame's alone: it may have waited in a queue behind the one before it.
        until = max(self._launched, active.last_done) + candidate.frame_timeout
        try:
            image = slot.wait(0.0 if active.failed else max(0.0, min(timeout, until - time.monotonic())))
        except TimeoutError:
            if not active.failed and time.monotonic() < until:
                raise
            late = f"no answer within {candidate.frame_timeout * 1000:.0f} ms"
            self._state = self._failover.fail(active, EngineError(f"{candidate.name} is late", late))
            return None
        except FrameRefusedError as error:
            active.unanswered.discard(self._index)
            active.refusals += 1
            self._state = EngineState(Condition.FALLBACK, f"{candidate.name}: {error.facts}")
            if active.refusals >= MAX_REFUSALS:
                self._state = self._failover.fail(active, error)
            return None
        except EngineError as error:
            active.unanswered.discard(self._index)
            self._state = self._failover.fail(active, error)
            return None
        active.unanswered.discard(self._index)
        active.refusals = 0
        self.finished = active.last_done = slot.finished
        self.stages = stages(slot)
        self.spec = with_state(active.spec, self._state if active.health.rank else OK)
        return image

    def close(self) -> None:
        """Let go of the engine's buffers."""
        self._failover.leave(self._active)
        self._active = None
