"""A frame on its way from a source to a screen, and FramePool, where its memory comes from."""

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
    """The last picture of the source, while the source is away."""
    ATTRACT = "attract"
    """The attract loop, once the source has been away for long."""


@dataclass(slots=True)
class Frame:
    """A captured picture.

    The image belongs to the frame until release(); after that the source may write the next picture into it. A frame
    that is never released costs one new buffer, nothing else.
    """

    image: Image
    """uint8 [H, W, 3] BGR."""
    index: int
    """0, 1, 2 ... as captured: a gap is a dropped frame."""
    captured: float
    """When the picture was taken (a camera) or decoded (a file), in seconds of time.monotonic()."""
    position: float
    """Time in the source's own timeline, in seconds; never goes back. Recordings keep this one."""
    decode: float = 0.0
    """Seconds that decoding took."""
    ready: float = 0.0
    """When it entered the ring, in seconds of time.monotonic(); set by the pipeline."""
    on_release: Callable[[Image], None] | None = field(default=None, repr=False)
    """Takes the image back; None if nobody wants it."""
    origin: Origin = Origin.LIVE

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]

    def release(self) -> None:
        """Give the image's memory back to the source. Idempotent."""
        if self.on_release is not None:
            self.on_release(self.image)
            self.on_release = None


@dataclass(slots=True)
class OutputFrame:
    """An upscaled frame on its way through the overlays and sinks.

    `image` is borrowed from the engine until draw() or write() returns: overlays draw into it, and a sink must copy
    what it wants to keep.
    """

    image: Image
    """uint8 [H, W, 3] BGR; for overlays that draw on the screen, the visible part as it stands there."""
    input: Frame
    """The captured frame that the engine has upscaled; borrowed for as long as `image` is."""
    size: tuple[int, int] = (0, 0)
    """(width, height) of the whole upscaled picture; by default those of `image`."""
    part: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Which part of the upscaled picture `image` shows: x, y, width, height in its pixels; by default all of it."""

    def __post_init__(self) -> None:
        if not self.size[0]:
            self.size = (self.image.shape[1], self.image.shape[0])
        if not self.part[2]:
            self.part = (0, 0, self.image.shape[1], self.image.shape[0])

    @property
    def scale(self) -> int:
        """How many times as large as `input` the upscaled picture is; 0 if that is no whole number."""
        (width, height), scale = self.input.size, self.size[0] // self.input.size[0]
        return scale if self.size == (scale * width, scale * height) else 0


class FramePool:
    """Image memory that is used again and again instead of being allocated for each frame. Safe in any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[Image] = []  # guarded by _lock

    def acquire(self, height: int, width: int) -> Image:
        """Return a uint8 [height, width, 3] buffer with undefined contents; the caller owns it until release()."""
        with self._lock:
            while self._free:
                image = self._free.pop()
                if image.shape[:2] == (height, width):  # a buffer of another size is of no more use
                    return image
        return np.empty((height, width, 3), np.uint8)

    def release(self, image: Image) -> None:
        """Take back a buffer that acquire() has handed out."""
        with self._lock:
            self._free.append(image)


def letterbox(picture: tuple[int, int], area: tuple[int, int]) -> tuple[int, int, int, int]:
    """Fit a picture of size (width, height) into `area`, as large as it goes and centred: x, y, width, height."""
    scale = min(area[0] / picture[0], area[1] / picture[1])
    width, height = max(1, round(picture[0] * scale)), max(1, round(picture[1] * scale))
    return (area[0] - width) // 2, (area[1] - height) // 2, width, height
