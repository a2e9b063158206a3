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


class SlotEngine(Generic[T]):
    """A first-in, first-out engine over a fixed number of slots; see engines.base.Engine.

    A slot is free, in flight, or lent: collect() frees the slot whose view it lent before. With two slots one
    computes while the other's result is shown; each slot more adds one engine time of latency.
    """

    def __init__(
        self,
        spec: Spec,
        slots: Sequence[Slot],
        *,
        deadline: float = 30.0,
        parting: float | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        """`deadline`: seconds after which a silent engine counts as hung; `close` runs after all slots' close().

        `parting`: seconds to wait at the end for what is in flight, `deadline` if None.
        """
        self.spec = spec
        self.slots = list(slots)
        """For engines.failover.engine, which puts slots behind slots of its own."""
        self._deadline, self._close = deadline, close
        self._parting = deadline if parting is None else parting
        self._free: deque[Slot] = deque(self.slots)
        self._flying: deque[tuple[Slot, T, float]] = deque()
        self._lent: Slot | None = None
        self._change = threading.Condition()
        self._finished = self._cancelled = self._launching = False
        self._last_done = 0.0

    @property
    def stages(self) -> Mapping[str, float]:
        """What the slot collected last tells of its own stages, if it tells anything. For the collector's thread."""
        return stages(self._lent)

    def reserve(self) -> bool:
        with self._change:
            # collect() and cancel() both notify; a hung engine ends in collect()'s deadline, then cancel().
            self._change.wait_for(lambda: self._free or self._cancelled)
            return not self._cancelled

    def submit(self, image: Image, tag: T) -> None:
        width, height = self.spec.input
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
                    self._flying.append((slot, tag, launched))
                else:
                    self._free.append(slot)
                self._launching = False
                self._change.notify_all()

    def collect(self, timeout: float) -> tuple[Image, T, float] | None:
        until = time.monotonic() + timeout
        with self._change:
            if self._lent is not None:
                self._free.append(self._lent)
                self._lent = None
                self._change.notify_all()
            ready = self._change.wait_for(lambda: self._flying or self._finished or self._cancelled, timeout)
            if self._cancelled or (ready and not self._flying):
                return None
            if not ready:
                raise TimeoutError
            slot, tag, launched = self._flying[0]
        try:
            image = slot.wait(max(0.0, until - time.monotonic()))
        except TimeoutError:
            if time.monotonic() - max(launched, self._last_done) > self._deadline:
                raise EngineError(
                    f"The {self.spec.name} engine has stopped answering",
                    f"a frame has been in it for more than {self._deadline:g} s ({self.spec.device})",
                    "Start again; if it stays so, try --engine bicubic to see whether the rest works.",
                ) from None
            raise
        with self._change:
            self._flying.popleft()
            self._lent = slot
        busy = slot.finished - max(launched, self._last_done)
        self._last_done = slot.finished
        return image, tag, busy

    def finish(self) -> None:
        with self._change:
            self._finished = True
            self._change.notify_all()

    def cancel(self) -> None:
        with self._change:
            self._cancelled = True
            self._change.notify_all()

    def __enter__(self) -> SlotEngine[T]:
        return self

    def __exit__(self, *_: Any) -> None:
        """Wait for what is in flight, so that no buffer is freed under a running copy, then free everything."""
        self.cancel()
        with self._change:  # a submitter that cancel() met inside launch() still has to come out of it
            self._change.wait_for(lambda: not self._launching, self._deadline)
        for slot, _tag, _launched in self._flying:
            # The failure that brought us here, if any, is already on its way out.
            with contextlib.suppress(TimeoutError, EngineError):
                slot.wait(self._parting)
        self._flying.clear()
        self.free()

    def free(self) -> None:
        """Close every slot, then what they share. No slot is in flight."""
        for slot in self.slots:
            slot.close()
        self._close()
