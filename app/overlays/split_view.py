"""On the left what bicubic interpolation makes of the frame, on the right what the network makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from app.overlays.split_sweep import SplitSweep
from app.overlays.text_panel import PanelCache, Renderer, TextPanel, cap_height
from app.overlays.view_state import ViewState
from app.pipeline.frame import OutputFrame
from engines.base import Image
from engines.bicubic import enlarge

CUBIC_MARGIN_PX = 3
"""Source pixels to take beyond a cut: cubic interpolation looks two ahead, and would treat the cut as an edge."""


class SplitView:
    """An overlay that is there while view.split is on: same frame, same framing, both sides labelled."""

    def __init__(
        self,
        view: ViewState,
        *,
        before: Sequence[str] = ("bicubic",),
        after: Sequence[str] = ("upscaled",),
        render: Renderer = TextPanel,
        sweep: SplitSweep | None = None,
        interpolated: Callable[[], bool] = lambda: False,
    ) -> None:
        """Label the sides with the lines `before` and `after`, drawn by `render`; `sweep` moves the divider.

        While `interpolated` is true, both sides show the same, and bear the same label.
        """
        self._view, self._before, self._after, self._sweep = view, before, after, sweep
        self._interpolated = interpolated
        self._labels = PanelCache(render)
        self._scratch: Image = np.empty((0, 0, 3), np.uint8)

    def draw(self, frame: OutputFrame) -> None:
        """Draw the left side, the divider and the labels."""
        if self._sweep is not None:
            self._sweep.advance()
        if not self._view.split:
            return
        image = frame.image
        height, width = image.shape[:2]
        cut = round(self._view.divider * width)
        self._draw_bicubic(frame, cut)
        cv2.line(image, (cut, 0), (cut, height), (255, 255, 255), max(1, height // 360))
        gap = cap_height(height)
        left = self._labels.panel("before", self._before, height=gap, width=max(8, width // 3))
        after = self._before if self._interpolated() else self._after
        right = self._labels.panel("after", after, height=gap, width=max(8, width // 3))
        low = height - left.size[1] - gap
        # A label leaves the picture with its side instead of standing on the other side.
        left.draw(image, min(gap, cut - gap - left.size[0]), low)
        right.draw(image, max(width - gap - right.size[0], cut + gap), low)

    def _draw_bicubic(self, frame: OutputFrame, cut: int) -> None:
        """Interpolate the first `cut` columns, at the cost of these columns alone."""
        source, image = frame.input.image, frame.image
        if self._scratch.shape != image.shape:
            self._scratch = np.empty_like(image)
        scale = image.shape[1] // source.shape[1]
        columns = min(source.shape[1], -(-cut // scale) + CUBIC_MARGIN_PX)
        enlarge(source[:, :columns], self._scratch[:, : columns * scale])
        image[:, :cut] = self._scratch[:, :cut]
