"""Order, back-pressure and the end of an engine: the one implementation of Engine, whatever its slots do."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

from engines.base import Image, Slot, Spec, T, stages
from engines.errors import EngineError

WARM_UP_TIMEOUT_S = 60.0
"""How long an engine's first frame may take, for which it compiles and allocates what it has left for later."""

HANG_TIMEOUT_S = 30.0
"""After how long without an answer an engine counts as hung."""


def _nothing() -> None:
    """Do nothing."""


class SlotEngine(Generic[T]):
    """A first-in, first-out engine over a fixed number of slots; see engines.base.Engine.

    A slot is free, in flight, or borrowed: collect() frees the slot whose view it returned before. With two slots one
    computes while the other's result is shown; each slot more adds one engine time of latency.
    """

    def __init__(
        self,
        spec: Spec,
        slots: Sequence[Slot],
        *,
        hang_timeout: float = HANG_TIMEOUT_S,
        drain_timeout: float | None = None,
        close: Callable[[], None] = _nothing,
    ) -> None:
        """Take over `slots`, which are closed with the engine.

        Args:
            spec: What the engine is.
            slots: At least one, none of them in flight.
            hang_timeout: Seconds after which a silent engine counts as hung.
            drain_timeout: Seconds to wait at the end for each frame in flight; None: as long as `hang_timeout`.
            close: Frees what the slots share, after each of them has been closed.
        """
        self._spec = spec  # changed by the collector's thread only
        self._slots = list(slots)
        self._hang_timeout, self._close = hang_timeout, close
        self._drain_timeout = hang_timeout if drain_timeout is None else drain_timeout
        self._change = threading.Condition()
        self._free: deque[Slot] = deque(self._slots)  # guarded by _change, as are the next two lines
        self._in_flight: deque[tuple[Slot, T, float]] = deque()
        self._finished = self._cancelled = self._launching = False
        self._borrowed: Slot | None = None  # collector's thread
        self._last_done = 0.0  # collector's thread

    def rewrapped(self, spec: Spec, wrap: Callable[[Slot], Slot]) -> SlotEngine[T]:
        """Return an engine described by `spec` that takes the place of this one, each of whose slots `wrap` wraps.

        No slot is in flight, and this engine must not be used any more. Whoever wraps a slot closes it.
        """
        slots = [wrap(slot) for slot in self._slots]
        limits = {"hang_timeout": self._hang_timeout, "drain_timeout": self._drain_timeout}
        return SlotEngine(spec, slots, **limits, close=self._close)

    @property
    def spec(self) -> Spec:
        """What made the picture collected last; before the first, what will."""
        return self._spec

    @property
    def depth(self) -> int:
        """How many slots there are."""
        return len(self._slots)

    @property
    def stages(self) -> Mapping[str, float]:
        """Seconds of the stages of the slot collected last, empty if it reports none. For the collector's thread."""
        return stages(self._borrowed)

    def slot(self, index: int) -> Slot:
        """Return slot `index`; see engines.base.Engine."""
        return self._slots[index]

    def reserve(self) -> bool:
        """Block until a slot is free. False: cancelled, nothing may be submitted."""
        with self._change:
            # collect() and cancel() both notify; a hung engine ends in collect()'s timeout, then cancel().
            self._change.wait_for(lambda: self._free or self._cancelled)
            return not self._cancelled

    def submit(self, image: Image, tag: T) -> None:
        """Start work on `image`, uint8 [H, W, 3] of spec.input's size, in the slot reserved before.

        Raises:
            ValueError: The image has another shape.
            EngineError: The engine has not taken it.
        """
        width, height = self._spec.input
        if image.shape != (height, width, 3):
            raise ValueError(f"the engine takes {(height, width, 3)}, not {image.shape}")
        with self._change:
            if self._cancelled:
                return
            slot = self._free.popleft()
            self._launching = True
        launched = time.monotonic()
        started = False
        try:
            slot.launch(image)
            started = True
        finally:
            with self._change:
                if started:
                    self._in_flight.append((slot, tag, launched))
                else:
                    self._free.append(slot)
                self._launching = False
                self._change.notify_all()

    def collect(self, timeout: float) -> tuple[Image, T, float] | None:
        """Return the next result, its tag, and the seconds the engine worked for it alone; None at the end.

        Raises:
            TimeoutError: Nothing was finished within `timeout` seconds; ask again.
            EngineError: The engine has failed, or has been silent for longer than the hang timeout.
        """
        until = time.monotonic() + timeout
        with self._change:
            if self._borrowed is not None:
                self._free.append(self._borrowed)
                self._borrowed = None
                self._change.notify_all()
            ready = self._change.wait_for(lambda: self._in_flight or self._finished or self._cancelled, timeout)
            if self._cancelled or (ready and not self._in_flight):
                return None
            if not ready:
                raise TimeoutError
            slot, tag, launched = self._in_flight[0]
        try:
            image = slot.wait(max(0.0, until - time.monotonic()))
        except TimeoutError:
            if time.monotonic() - max(launched, self._last_done) > self._hang_timeout:
                raise EngineError(
                    f"The {self._spec.name} engine has stopped answering",
                    f"a frame has been in it for more than {self._hang_timeout:g} s ({self._spec.device})",
                    "Start again; if that happens again, try --engine bicubic to see whether the rest works.",
                ) from None
            raise
        with self._change:
            self._in_flight.popleft()
            self._borrowed = slot
        # A slot may have ended before the one ahead of it, each by its own clock: then it cost nothing more.
        busy = max(0.0, slot.finished - max(launched, self._last_done))
        self._last_done = max(slot.finished, self._last_done)
        return image, tag, busy

    def finish(self) -> None:
        """End the input: collect() hands out what is in flight and then None."""
        with self._change:
            self._finished = True
            self._change.notify_all()

    def cancel(self) -> None:
        """Unblock both sides at once; what is in flight is lost."""
        with self._change:
            self._cancelled = True
            self._change.notify_all()

    def __enter__(self) -> SlotEngine[T]:
        return self

    def __exit__(self, *_: Any) -> None:
        """Wait for what is in flight, so that no buffer is freed under a running copy, then free everything."""
        self.cancel()
        with self._change:  # a submitter that cancel() met inside launch() still has to come out of it
            self._change.wait_for(lambda: not self._launching, self._hang_timeout)
        for slot, _tag, _launched in self._in_flight:
            # The failure that brought us here, if any, is already on its way out.
            with contextlib.suppress(TimeoutError, EngineError):
                slot.wait(self._drain_timeout)
        self._in_flight.clear()
        self.free()

    def free(self) -> None:
        """Close every slot, then what they share. No slot is in flight."""
        for slot in self._slots:
            slot.close()
        self._close()
