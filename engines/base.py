"""What every engine is made of: the picture, its description and state, a slot, the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""uint8 [H, W, 3], BGR, C-contiguous, in host memory."""

T = TypeVar("T")

MIN_INPUT_SIZE, MAX_INPUT_SIZE = (16, 16), (4096, 2160)
"""Smallest and largest input (width, height in pixels) that an engine is asked for, odd ones included, and upright ones
with the same sides; a model made or served for one size may take fewer."""


def fits(size: tuple[int, int]) -> bool:
    """Return whether an engine can be asked for an input of `size` (width, height), which may stand upright."""
    sides = sorted(size, reverse=True)
    return all(low <= n <= high for n, low, high in zip(sides, MIN_INPUT_SIZE, MAX_INPUT_SIZE, strict=True))


class Strength:
    """How much of a network's detail is added to its base picture: 0 none, 1 as trained, 2 twice as much.

    One object for all engines of a session, also for those that are loaded later: every slot reads it when a frame is
    launched, and no frame waits for it. Any thread may set it; one reference is replaced at a time, without a lock.
    """

    def __init__(self, value: float = 1.0) -> None:
        """Begin with `value`, from 0 to engines.catalog.contract.MAX_STRENGTH."""
        self.value = value


class Condition(str, Enum):
    """How an engine stands to what was asked for."""

    OK = "ok"
    """It is the engine that was asked for."""
    STARTING = "starting"
    """It stands in for an engine that has not been loaded yet."""
    FALLBACK = "fallback"
    """It stands in for an engine that is late, broken or away."""
    REDUCED = "reduced"
    """It does less than was asked for, as the machine has no time for more."""


@dataclass(frozen=True)
class EngineState:
    """Whether the engine is the one that was asked for, for programs, and why not, for people."""

    condition: Condition = Condition.OK
    reason: str = ""
    """A few words; empty while the condition is OK."""

    @property
    def ok(self) -> bool:
        """Whether it is the engine that was asked for."""
        return self.condition is Condition.OK

    def __str__(self) -> str:
        return self.reason


OK = EngineState()


@dataclass(frozen=True)
class Spec:
    """What an engine is, once it is loaded. Sizes are (width, height) in pixels."""

    name: str
    """One of engines.request.ENGINE_NAMES."""
    device: str
    """What computes, for people."""
    model: str
    """Its name, without folder and ending."""
    precision: str
    """What the arithmetic is done in: fp32, bf16, fp16, int8; u8 for bicubic."""
    scale: int
    """How many times larger the network makes a picture; `output` may have been resized since."""
    input: tuple[int, int]
    output: tuple[int, int]
    state: EngineState = OK
    takes_strength: bool = False
    """Whether Strength has an effect: the network has that input. Bicubic interpolation has no detail to scale."""

    @property
    def is_bicubic(self) -> bool:
        """Whether there is no network: the picture is interpolated."""
        return self.name == "bicubic"

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
    """When the last wait() found its work done, in seconds of time.monotonic()."""

    def launch(self, image: Image) -> None:
        """Copy `image` in, start the work and return at once. The caller may reuse `image` afterwards.

        Raises:
            EngineError: The work cannot be started; the slot is not in flight.
        """

    def wait(self, timeout: float) -> Image:
        """Return the result, which belongs to the slot and is valid until the next launch().

        Raises:
            TimeoutError: The work is not done after `timeout` seconds; ask again.
            EngineError: The work has failed.
        """

    def close(self) -> None:
        """Free everything. The slot is not in flight any more."""


def stages(slot: Slot | None) -> Mapping[str, float]:
    """Return the seconds that a slot's stages took for a recent frame, by name; empty for most slots.

    For the collector's thread.
    """
    seconds: Mapping[str, float] = getattr(slot, "stages", {})
    return seconds


class Engine(Protocol[T]):
    """First in, first out; one thread submits, one thread collects; `with` frees it.

    An image handed to submit() is copied before submit() returns. The view that collect() returns is borrowed: the
    caller may draw into it until the next collect().
    """

    @property
    def spec(self) -> Spec:
        """What made the picture collected last; before the first, what will."""

    @property
    def depth(self) -> int:
        """How many slots there are."""

    @property
    def stages(self) -> Mapping[str, float]:
        """Seconds that the engine's own stages took for a recent frame, by name; empty if it knows none."""

    def slot(self, index: int) -> Slot:
        """Return slot `index`, 0 to depth - 1, for an engine that puts slots of its own in front of these.

        Whoever uses slots directly does not use reserve(), submit() and collect().
        """

    def reserve(self) -> bool:
        """Block until a slot is free. False: cancelled, nothing may be submitted."""

    def submit(self, image: Image, tag: T) -> None:
        """Start work on `image`, of spec.input's size, in the slot reserved before.

        Raises:
            ValueError: The image has another shape.
            EngineError: The engine has not taken it.
        """

    def collect(self, timeout: float) -> tuple[Image, T, float] | None:
        """Return the next result, its tag, and the seconds the engine worked for it alone; None at the end.

        Raises:
            TimeoutError: Nothing was finished within `timeout` seconds; ask again.
            EngineError: The engine has failed, or has been silent for longer than its hang timeout.
        """

    def finish(self) -> None:
        """End the input: collect() hands out what is in flight and then None."""

    def cancel(self) -> None:
        """Unblock both sides at once; what is in flight is lost."""

    def free(self) -> None:
        """Close every slot, then what they share. No slot is in flight."""

    def __enter__(self) -> Engine[T]: ...

    def __exit__(self, *_: Any) -> None: ...
