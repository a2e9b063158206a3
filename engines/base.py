"""What every engine is made of: the picture, its description, a slot, the protocol, the error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""uint8 [H, W, 3], BGR, C-contiguous, in host memory."""

T = TypeVar("T")

MIN_INPUT_SIZE, MAX_INPUT_SIZE = (16, 16), (4096, 2160)
"""Smallest and largest input (width, height) that an engine is asked for, odd ones included; a model made or served for
one size may take fewer."""


def fits(size: tuple[int, int]) -> bool:
    """Whether an engine can be asked for an input of `size` (width, height)."""
    return all(low <= n <= high for n, low, high in zip(size, MIN_INPUT_SIZE, MAX_INPUT_SIZE, strict=True))


@dataclass(frozen=True)
class Spec:
    """What an engine is, once it is loaded. Sizes are (width, height) in pixels."""

    name: str
    device: str
    model: str
    precision: str
    scale: int
    input: tuple[int, int]
    output: tuple[int, int]
    state: str = ""
    """Why this engine stands in for the one that was asked for; empty when it is that one."""

    @property
    def network(self) -> str:
        """Model and precision, for people: "fast-x2 int8"."""
        return f"{self.model.removesuffix(f'-{self.precision}')} {self.precision}"

    def __str__(self) -> str:
        sizes = f"{self.input[0]}x{self.input[1]} -> {self.output[0]}x{self.output[1]}"
        return f"{self.name}: {self.network}, {sizes}, {self.device}"


class Slot(Protocol):
    """Everything that one frame in flight needs: its own input, output and means of waiting.

    Used by two threads, but never by both at once: launch() by the submitter, the rest by the collector.
    """

    input: Image
    """What launch() has copied, unchanged until the next launch(): another engine may have to go on from it."""
    finished: float
    """When the last wait() found its work done to be exact, in seconds of time.monotonic()."""

    def launch(self, image: Image) -> None:
        """Copy `image` in, start the work, return at once. The caller may reuse `image` afterwards."""

    def wait(self, timeout: float) -> Image:
        """The result, valid until the next launch(). Raises TimeoutError after `timeout` seconds, EngineError."""

    def close(self) -> None:
        """Free everything. The slot is not in flight any more."""


def stages(slot: Slot | None) -> Mapping[str, float]:
    """Seconds that the stages of a slot's own work took for a frame collected of late, by name; most slots tell none.

    For the collector's thread.
    """
    told: Mapping[str, float] = getattr(slot, "stages", {})
    return told


class Engine(Protocol[T]):
    """First in, first out; one thread submits, one thread collects; `with` frees it.

    Implemented once, by engines.slot_engine.SlotEngine. An image handed to submit() is copied before submit() returns;
    the view that collect() returns belongs to the caller, who may draw into it, until the next collect().
    """

    spec: Spec
    """What made the picture collected last; before the first, what will."""

    @property
    def stages(self) -> Mapping[str, float]:
        """Seconds that the engine's own stages took for a frame collected of late, by name; empty if it knows none."""

    def reserve(self) -> bool:
        """Block until a slot is free. False: cancelled, nothing may be submitted."""

    def submit(self, image: Image, tag: T) -> None:
        """Start work on `image`, of spec.input's size, in the slot reserved before."""

    def collect(self, timeout: float) -> tuple[Image, T, float] | None:
        """The next result, its tag, and the seconds the engine worked for it alone; None at the end.

        Raises TimeoutError when nothing was finished within `timeout` seconds; ask again. Raises EngineError
        when the engine failed or has been silent for longer than its deadline.
        """

    def finish(self) -> None:
        """No more input: collect() hands out what is in flight and then None."""

    def cancel(self) -> None:
        """Unblock both sides at once; what is in flight is lost."""

    def __enter__(self) -> Engine[T]: ...

    def __exit__(self, *_: Any) -> None: ...
