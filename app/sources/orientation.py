"""Turns by right angles and mirroring: of a film that was recorded so, and of any source where a user asks for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from app.pipeline.frame import Frame, FramePool
from app.pipeline.protocols import Source
from engines.base import Image

HORIZONTALLY, VERTICALLY, BOTH = 1, 0, -1
"""cv2.flip's codes."""


class Orientation(NamedTuple):
    """A turn by right angles, mirrored or not: the axes are exchanged first, if at all, then the picture is flipped."""

    exchanged: bool
    flip: int | None

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (width, height) that a picture of `size` has afterwards."""
        return (size[1], size[0]) if self.exchanged else size

    def apply(self, image: Image, into: Image) -> None:
        """Write `image`, whose rows may be padded, turned `into` a buffer of the right size, which is another one."""
        if self.exchanged:
            cv2.transpose(image, dst=into)
            if self.flip is not None:
                cv2.flip(into, self.flip, dst=into)
        elif self.flip is not None:
            cv2.flip(image, self.flip, dst=into)
        else:
            np.copyto(into, image)


def requested_orientation(*, mirror: bool, rotate: int) -> Orientation:
    """Return a turn by `rotate` degrees clockwise (0, 90, 180, 270), then mirrored if `mirror`."""
    return {
        (0, False): Orientation(False, None),
        (90, False): Orientation(True, HORIZONTALLY),
        (180, False): Orientation(False, BOTH),
        (270, False): Orientation(True, VERTICALLY),
        (0, True): Orientation(False, HORIZONTALLY),
        (90, True): Orientation(True, None),
        (180, True): Orientation(False, VERTICALLY),
        (270, True): Orientation(True, BOTH),
    }[rotate, mirror]


class OrientedSource:
    """Another source's pictures, each turned into a buffer of its own.

    That is one copy at the source's size, in the capture thread, before anything has looked at the picture. It cannot
    be done in place: a film's picture may be FFmpeg's own memory.
    """

    def __init__(self, source: Source, orientation: Orientation) -> None:
        """Take over `source`, which is closed with this one."""
        self.name, self.fps = source.name, source.fps
        self.live, self.paced, self.camera = source.live, source.paced, source.camera
        self._source, self._orientation, self._buffers = source, orientation, FramePool()

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            began = time.monotonic()
            width, height = self._orientation.size(frame.size)
            image = self._buffers.acquire(height, width)
            self._orientation.apply(frame.image, image)
            frame.release()
            decode = frame.decode + time.monotonic() - began
            give_back = self._buffers.release
            yield Frame(
                image, frame.index, frame.captured, frame.position, decode, on_release=give_back, origin=frame.origin
            )

    def close(self) -> None:
        """Close the source that was taken over. Idempotent."""
        self._source.close()
