"""The most detailed part of the picture, magnified, bicubic beside upscaled at identical framing."""

from __future__ import annotations

import time

import cv2
import numpy as np
from numpy.typing import NDArray

from app.overlays.text_panel import letter
from app.pipeline.frame import OutputFrame
from engines.base import Image
from engines.bicubic import enlarge

SHARE = 1 / 8
"""The part's width, as a share of the picture's."""
PANE = 0.24
"""Width of each of the two panes, as a share of the picture's."""
LOOK = 0.5
"""Seconds between two searches for the most detailed part."""
STAY, BETTER = 4.0, 1.3
"""Seconds a part stays at least, and how many times as detailed another must be: the lens must not wander."""
GLIDE = 0.15
"""Share of the way to a new part that is gone with each picture."""
MARGIN = 3
"""Source pixels around the part: cubic interpolation looks two ahead."""


class Magnifier:
    """Draws into the picture. `eye` is a sink that must come before whatever draws into it."""

    stage = "overlay"

    def __init__(self) -> None:
        self.eye = DetailTracker()

    def write(self, picture: OutputFrame) -> None:
        if self.eye.before is None or self.eye.after is None:
            return
        image = picture.image
        height, width = image.shape[:2]
        wide = round(width * PANE)
        high = wide * self.eye.after.shape[0] // self.eye.after.shape[1]
        gap = letter(height)
        top = gap
        if 2 * wide + 3 * gap > width or high + 2 * gap > height:
            return  # a picture too small to magnify a part of
        for number, pane in enumerate((self.eye.before, self.eye.after)):
            left = width - gap - (2 - number) * wide
            place = image[top : top + high, left : left + wide]
            place[:] = cv2.resize(pane, (wide, high), interpolation=cv2.INTER_CUBIC)
        line, white = max(1, height // 360), (255, 255, 255)
        left = width - gap - 2 * wide
        cv2.rectangle(image, (left, top), (left + 2 * wide, top + high), white, line)
        cv2.line(image, (left + wide, top), (left + wide, top + high), white, line)
        scale = width // picture.frame.image.shape[1]
        x, y, w, h = (value * scale for value in self.eye.part)
        cv2.rectangle(image, (x, y), (x + w, y + h), white, line)

    def idle(self) -> None:
        pass

    def close(self) -> None:
        pass


class DetailTracker:
    """Finds the part, and keeps a copy of both sides of it."""

    stage = "overlay"

    def __init__(self) -> None:
        self.before: Image | None = None
        self.after: Image | None = None
        self.part = (0, 0, 0, 0)
        """x, y, width, height in the source, in pixels."""
        self._target = (0, 0)
        self._looked = self._moved = float("-inf")
        self._at = (0.0, 0.0)

    def write(self, picture: OutputFrame) -> None:
        source, image = picture.frame.image, picture.image
        height, width = source.shape[:2]
        wide = max(8, round(width * SHARE)) & ~1
        high = max(8, round(wide * 3 / 4)) & ~1
        if width < wide + 2 * MARGIN or height < high + 2 * MARGIN:
            self.before = self.after = None
            return
        if self.part[2:] != (wide, high):
            self._looked = self._moved = float("-inf")
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._look(source, wide, high, now)
        self._at = (
            self._at[0] + GLIDE * (self._target[0] - self._at[0]),
            self._at[1] + GLIDE * (self._target[1] - self._at[1]),
        )
        # A step of less than half a pixel is none: the magnified picture must not tremble.
        x = min(width - wide - MARGIN, max(MARGIN, round(self._at[0])))
        y = min(height - high - MARGIN, max(MARGIN, round(self._at[1])))
        self.part = (x, y, wide, high)
        scale = image.shape[1] // width
        # With a margin, and cut off after: else the edge would be another than in the whole picture.
        around = source[y - MARGIN : y + high + MARGIN, x - MARGIN : x + wide + MARGIN]
        size = (around.shape[0] * scale, around.shape[1] * scale, 3)
        edge = MARGIN * scale
        self.before = enlarge(around, np.empty(size, np.uint8))[edge:-edge, edge:-edge]
        self.after = image[y * scale : (y + high) * scale, x * scale : (x + wide) * scale].copy()

    def _look(self, source: Image, wide: int, high: int, now: float) -> None:
        self._looked = now
        detail = energy(source, wide, high)
        y, x = np.unravel_index(int(np.argmax(detail)), detail.shape)
        step = STEP
        old = (
            min(detail.shape[0] - 1, round(self._target[1] / step)),
            min(detail.shape[1] - 1, round(self._target[0] / step)),
        )
        first = self._moved == float("-inf")
        if first or (now - self._moved > STAY and detail[y, x] > BETTER * detail[old]):
            self._moved, self._target = now, (int(x) * step, int(y) * step)
            if first:
                self._at = (float(self._target[0]), float(self._target[1]))

    def idle(self) -> None:
        pass

    def close(self) -> None:
        pass


STEP = 4
"""Source pixels to one of the search's."""


def energy(source: Image, wide: int, high: int) -> NDArray[np.float32]:
    """float32 [h, w]: how detailed the part with its corner at (x * STEP, y * STEP) is, by its edges beyond noise."""
    grey = cv2.cvtColor(source, cv2.COLOR_BGR2GRAY)
    edges = cv2.Laplacian(grey, cv2.CV_32F)
    # Noise is everywhere and small: what counts is beyond it.
    strong = np.maximum(np.abs(edges) - 12, 0)
    small = cv2.resize(strong, (source.shape[1] // STEP, source.shape[0] // STEP), interpolation=cv2.INTER_AREA)
    box = (max(1, wide // STEP), max(1, high // STEP))
    sums = cv2.boxFilter(small, -1, box, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    # Not under the lens itself, in the upper right corner.
    across = small.shape[1]
    sums[: round(2 * PANE * across * 0.45), max(0, round((1 - 2 * PANE) * across) - box[0] - 4) :] = 0
    return np.asarray(sums[: max(1, small.shape[0] - box[1]), : max(1, small.shape[1] - box[0])])
