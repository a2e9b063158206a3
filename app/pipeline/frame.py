"""One picture on its way from a source to a screen, and FramePool, where its memory comes from."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from engines.base import Image


class Origin(Enum):
    """Whether a frame is what the source sees now, or what a kiosk shows in its place."""

    LIVE = "live"
    HELD = "held"
    """The last picture there was, while the source is away."""
    ATTRACT = "attract"
    """The attract loop, when it has been away for long."""


@dataclass(slots=True)
class Frame:
    """A captured picture.

    The image belongs to the frame until release(); after that its source may fill it anew. A frame that is
    never released costs one new buffer, nothing else.
    """

    image: Image
    """uint8 [H, W, 3] BGR."""
    index: int
    """0, 1, 2 ... as captured, so that a gap tells of a drop."""
    captured: float
    """When the picture was taken (a camera) or decoded (a file), in seconds of time.monotonic()."""
    position: float
    """Where the picture stands in its source's own time, in seconds; never goes back. What a recording keeps."""
    decode: float = 0.0
    """Seconds spent on decoding it."""
    ready: float = 0.0
    """When it entered the ring, in seconds of time.monotonic(); set by the pipeline."""
    on_release: Callable[[Image], None] | None = field(default=None, repr=False)
    origin: Origin = Origin.LIVE

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.image.shape[1], self.image.shape[0]

    def release(self) -> None:
        """Give the image's memory back. Harmless when done twice."""
        if self.on_release is not None:
            self.on_release(self.image)
            self.on_release = None


@dataclass(slots=True)
class OutputFrame:
    """An upscaled frame as it goes from sink to sink.

    `image` is lent by the engine: a sink may draw into it, and must copy what it wants to keep beyond write().
    """

    image: Image
    """uint8 [s*H, s*W, 3] BGR."""
    frame: Frame


class FramePool:
    """Image memory that goes round instead of being allocated for each frame. Safe to share between threads."""

    def __init__(self) -> None:
        self._free: list[Image] = []
        self._lock = threading.Lock()

    def take(self, height: int, width: int) -> Image:
        """A buffer of that size with undefined contents; the caller owns it until give()."""
        with self._lock:
            while self._free:
                image = self._free.pop()
                if image.shape[:2] == (height, width):  # another size is of no more use: let it go
                    return image
        return np.empty((height, width, 3), np.uint8)

    def give(self, image: Image) -> None:
        """Take a buffer back."""
        with self._lock:
            self._free.append(image)
