"""The most detailed part of the picture, magnified, bicubic beside upscaled at identical framing."""

from __future__ import annotations

import time

import cv2
import numpy as np
from numpy.typing import NDArray

from app.overlays.split_view import CUBIC_MARGIN_PX
from app.overlays.text_panel import TextHeight, cap_height
from app.overlays.view_state import ViewState
from app.pipeline.frame import OutputFrame
from engines.base import Image
from engines.bicubic import enlarge

PART_SHARE = 1 / 8
"""The part's width, as a share of the picture's."""
PANE_SHARE = 0.24
"""Width of each of the two panes, as a share of the picture's."""
SEARCH_PERIOD_S = 0.5
"""Between two searches for the most detailed part."""
MIN_STAY_S, MIN_GAIN = 4.0, 1.3
"""How long a part stays at least, and how many times as detailed another must be: the magnifier must not wander."""
GLIDE_SHARE = 0.15
"""Share of the way to a new part that is covered with each picture."""
SEARCH_STEP_PX = 4
"""Source pixels to one of the search's."""


class Magnifier:
    """An overlay with two panes. Its `tracker` is an overlay of its own, to come before any that draws."""

    def __init__(
        self, view: ViewState, tracker: DetailTracker | None = None, *, text_height: TextHeight = cap_height
    ) -> None:
        """Draw while view.magnifier is on what `tracker` finds; the panes' distance to the edges is a `text_height`."""
        self._view, self.tracker, self._text_height = view, tracker or DetailTracker(view), text_height
        self.bottom = 0
        """Where the panes end, in pixels from the picture's upper edge; 0 while there are none."""

    def draw(self, frame: OutputFrame) -> None:
        """Draw both panes in the upper right corner, and a frame around the part they show."""
        self.bottom = 0
        if not self._view.magnifier or self.tracker.before is None or self.tracker.after is None:
            return
        image = frame.image
        height, width = image.shape[:2]
        wide = round(width * PANE_SHARE)
        high = wide * self.tracker.after.shape[0] // self.tracker.after.shape[1]
        top = gap = self._text_height(height)
        if 2 * wide + 3 * gap > width or high + 2 * gap > height:
            return  # a picture too small to magnify a part of
        for number, pane in enumerate((self.tracker.before, self.tracker.after)):
            left = width - gap - (2 - number) * wide
            place = image[top : top + high, left : left + wide]
            place[:] = cv2.resize(pane, (wide, high), interpolation=cv2.INTER_CUBIC)
        line, white = max(1, height // 360), (255, 255, 255)
        left = width - gap - 2 * wide
        cv2.rectangle(image, (left, top), (left + 2 * wide, top + high), white, line)
        cv2.line(image, (left + wide, top), (left + wide, top + high), white, line)
        self.bottom = top + high
        self._draw_frame(frame, line)

    def _draw_frame(self, frame: OutputFrame, line: int) -> None:
        """Draw a frame around the part, as far as it is visible."""
        part_x, part_y, part_width, _ = frame.part
        x, y, w, h = self.tracker.enlarged_part
        zoom = frame.image.shape[1] / part_width
        corners = [
            (round((column - part_x) * zoom), round((row - part_y) * zoom)) for column, row in ((x, y), (x + w, y + h))
        ]
        cv2.rectangle(frame.image, corners[0], corners[1], (255, 255, 255), line)


class DetailTracker:
    """Finds the most detailed part, and keeps a copy of both sides of it, while view.magnifier is on."""

    def __init__(self, view: ViewState) -> None:
        self._view = view
        self.before: Image | None = None
        """uint8 [h, w, 3]: the part, enlarged by bicubic interpolation; None if the picture is too small for one."""
        self.after: Image | None = None
        """The same part of the upscaled picture, of the same size."""
        self.part = (0, 0, 0, 0)
        """x, y, width, height in the source, in pixels."""
        self.enlarged_part = (0, 0, 0, 0)
        """The same in the upscaled picture."""
        self._target = (0, 0)
        self._searched = self._moved = float("-inf")
        self._at = (0.0, 0.0)

    def draw(self, frame: OutputFrame) -> None:
        """Draw nothing; follow the part and copy it before anything is drawn over it."""
        if not self._view.magnifier:
            self.before = self.after = None
            return
        source, image = frame.input.image, frame.image
        height, width = source.shape[:2]
        wide = max(8, round(width * PART_SHARE)) & ~1
        high = max(8, round(wide * 3 / 4)) & ~1
        if width < wide + 2 * CUBIC_MARGIN_PX or height < high + 2 * CUBIC_MARGIN_PX:
            self.before = self.after = None
            return
        if self.part[2:] != (wide, high):
            self._searched = self._moved = float("-inf")
        now = time.monotonic()
        if now - self._searched >= SEARCH_PERIOD_S:
            self._search(source, wide, high, now)
        self._at = (
            self._at[0] + GLIDE_SHARE * (self._target[0] - self._at[0]),
            self._at[1] + GLIDE_SHARE * (self._target[1] - self._at[1]),
        )
        # Steps of less than half a pixel are left out: the magnified picture must not tremble.
        x = min(width - wide - CUBIC_MARGIN_PX, max(CUBIC_MARGIN_PX, round(self._at[0])))
        y = min(height - high - CUBIC_MARGIN_PX, max(CUBIC_MARGIN_PX, round(self._at[1])))
        self.part = (x, y, wide, high)
        across, down = image.shape[1] / width, image.shape[0] / height
        left, top = round(x * across), round(y * down)
        right, bottom = round((x + wide) * across), round((y + high) * down)
        self.enlarged_part = (left, top, right - left, bottom - top)
        self.after = image[top:bottom, left:right].copy()
        if frame.scale:
            self.before = self._enlarged(source, frame.scale)
        else:  # an exact size, with pixels that lie anywhere between those of the source
            inverse = np.array([[1 / across, 0, (left + 0.5) / across - 0.5], [0, 1 / down, (top + 0.5) / down - 0.5]])
            flags, size = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, (right - left, bottom - top)
            warped = cv2.warpAffine(source, inverse, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
            self.before = np.asarray(warped, np.uint8)

    def _enlarged(self, source: Image, scale: int) -> Image:
        """Return the part of `source`, uint8 [H, W, 3], `scale` times as large by bicubic interpolation."""
        x, y, wide, high = self.part
        # With a margin that is cut off afterwards: else the edges would differ from the whole picture's.
        around = source[
            y - CUBIC_MARGIN_PX : y + high + CUBIC_MARGIN_PX, x - CUBIC_MARGIN_PX : x + wide + CUBIC_MARGIN_PX
        ]
        size = (around.shape[0] * scale, around.shape[1] * scale, 3)
        edge = CUBIC_MARGIN_PX * scale
        return enlarge(around, np.empty(size, np.uint8))[edge:-edge, edge:-edge]

    def _search(self, source: Image, wide: int, high: int, now: float) -> None:
        self._searched = now
        detail = energy(source, wide, high)
        y, x = np.unravel_index(int(np.argmax(detail)), detail.shape)
        step = SEARCH_STEP_PX
        old = (
            min(detail.shape[0] - 1, round(self._target[1] / step)),
            min(detail.shape[1] - 1, round(self._target[0] / step)),
        )
        first = self._moved == float("-inf")
        if first or (now - self._moved > MIN_STAY_S and detail[y, x] > MIN_GAIN * detail[old]):
            self._moved, self._target = now, (int(x) * step, int(y) * step)
            if first:
                self._at = (float(self._target[0]), float(self._target[1]))


def energy(source: Image, wide: int, high: int) -> NDArray[np.float32]:
    """Return float32 [h, w]: how detailed each part is, by its edges beyond noise.

    `wide` and `high` are the part's size; element [y, x] stands for the part whose corner is at
    (x * SEARCH_STEP_PX, y * SEARCH_STEP_PX) in `source`, uint8 [H, W, 3].
    """
    grey = cv2.cvtColor(source, cv2.COLOR_BGR2GRAY)
    edges = cv2.Laplacian(grey, cv2.CV_32F)
    # Noise is everywhere and small: what counts is beyond it.
    strong = np.maximum(np.abs(edges) - 12, 0)
    small = cv2.resize(
        strong, (source.shape[1] // SEARCH_STEP_PX, source.shape[0] // SEARCH_STEP_PX), interpolation=cv2.INTER_AREA
    )
    box = (max(1, wide // SEARCH_STEP_PX), max(1, high // SEARCH_STEP_PX))
    sums = cv2.boxFilter(small, -1, box, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
    # Not under the panes themselves, in the upper right corner.
    across = small.shape[1]
    sums[: round(2 * PANE_SHARE * across * 0.45), max(0, round((1 - 2 * PANE_SHARE) * across) - box[0] - 4) :] = 0
    return np.asarray(sums[: max(1, small.shape[0] - box[1]), : max(1, small.shape[1] - box[0])])
