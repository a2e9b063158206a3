"""On the left what bicubic interpolation makes of the frame, on the right what the network makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from app.overlays.split_sweep import SplitSweep
from app.overlays.text_panel import PanelCache, Renderer, TextHeight, TextPanel, cap_height
from app.overlays.view_state import ViewState, handle_radius
from app.pipeline.frame import OutputFrame
from engines.base import Image
from engines.bicubic import enlarge

CUBIC_MARGIN_PX = 3
"""Source pixels to take beyond a cut: cubic interpolation looks two ahead, and would treat the cut as an edge."""


class SplitView:
    """An overlay that draws the left side while view.split is on: same frame, same framing. SplitMarks come on top."""

    def __init__(self, view: ViewState, *, sweep: SplitSweep | None = None, whole: bool = False) -> None:
        """Draw what `view` asks for; `sweep` moves the divider. `whole`: also where it is not visible in the window."""
        self._view, self._sweep, self._whole = view, sweep, whole
        self._scratch: Image = np.empty((0, 0, 3), np.uint8)

    def draw(self, frame: OutputFrame) -> None:
        """Draw the left side."""
        if self._sweep is not None:
            self._sweep.advance()
        if not self._view.split:
            return
        height, width = frame.image.shape[:2]
        viewport = self._view.viewport((width, height))
        cut, part = viewport.cut(self._view.divider), viewport.part
        if self._whole:
            self._draw_bicubic(frame, (0, cut), (0, height))
        else:
            self._draw_bicubic(frame, (part.x, cut), (part.y, part.y + part.height))

    def _draw_bicubic(self, frame: OutputFrame, columns: tuple[int, int], rows: tuple[int, int]) -> None:
        """Interpolate these columns and rows, each from and to, at their cost alone."""
        source, image, scale = frame.input.image, frame.image, frame.scale
        if columns[0] >= columns[1]:
            return
        if self._scratch.shape != image.shape:
            self._scratch = np.empty_like(image)
        if not scale:  # an exact size: no column of the one ends with the other's
            enlarge(source, self._scratch)
            image[slice(*rows), slice(*columns)] = self._scratch[slice(*rows), slice(*columns)]
            return
        (top, bottom), (left, right) = (
            (max(0, start // scale - CUBIC_MARGIN_PX), min(size, -(-end // scale) + CUBIC_MARGIN_PX))
            for (start, end), size in zip((rows, columns), source.shape[:2], strict=True)
        )
        enlarged = self._scratch[: (bottom - top) * scale, : (right - left) * scale]
        enlarge(source[top:bottom, left:right], enlarged)
        image[slice(*rows), slice(*columns)] = enlarged[
            rows[0] - top * scale : rows[1] - top * scale, columns[0] - left * scale : columns[1] - left * scale
        ]


class SplitMarks:
    """An overlay with what belongs to the split view: the divider, its handle and the labels of both sides."""

    def __init__(
        self,
        view: ViewState,
        *,
        before: Sequence[str] = ("bicubic",),
        after: Sequence[str] = ("upscaled",),
        render: Renderer = TextPanel,
        interpolated: Callable[[], bool] = lambda: False,
        text_height: TextHeight = cap_height,
        handle: bool = False,
    ) -> None:
        """Label the sides with the lines `before` and `after`, drawn by `render` in letters of `text_height`.

        While `interpolated` is true, both sides show the same, and bear the same label. `handle`: draw one on the
        divider, where there is a pointer to take it.
        """
        self._view, self._before, self._after, self._interpolated = view, before, after, interpolated
        self._text_height, self._handle = text_height, handle
        self._labels = PanelCache(render)

    def draw(self, frame: OutputFrame) -> None:
        """Draw the divider and the labels."""
        if not self._view.split:
            return
        image, (part_x, _, part_width, _) = frame.image, frame.part
        height, width = image.shape[:2]
        # The divider stands where the left side ends: between two pixels of the picture, not of the screen.
        column = self._view.viewport(frame.size).cut(self._view.divider)
        cut = round((column - part_x) * width / part_width)
        gap = self._text_height(height)
        cv2.line(image, (cut, 0), (cut, height), (255, 255, 255), max(1, round(gap / 6)))
        if self._handle:
            draw_handle(image, (cut, height // 2), handle_radius(gap))
        left = self._labels.panel("before", self._before, height=gap, width=max(8, width // 3))
        after = self._before if self._interpolated() else self._after
        right = self._labels.panel("after", after, height=gap, width=max(8, width // 3))
        low = height - left.size[1] - gap
        # A label leaves the picture with its side instead of standing on the other side.
        left.draw(image, min(gap, cut - gap - left.size[0]), low)
        right.draw(image, max(width - gap - right.size[0], cut + gap), low)


def draw_handle(image: Image, centre: tuple[int, int], radius: int) -> None:
    """Draw a disc with an arrow to either side into `image`, uint8 [H, W, 3]; what lies outside is left out."""
    x, y = centre
    cv2.circle(image, centre, radius, (40, 40, 40), max(1, radius // 6), cv2.LINE_AA)
    cv2.circle(image, centre, radius - max(1, radius // 12), (245, 245, 245), cv2.FILLED, cv2.LINE_AA)
    near, far, half = round(radius * 0.2), round(radius * 0.7), round(radius * 0.4)
    for side in (-1, 1):
        arrow = [(x + side * far, y), (x + side * near, y - half), (x + side * near, y + half)]
        cv2.fillPoly(image, [np.array(arrow, np.int32)], (40, 40, 40), cv2.LINE_AA)
