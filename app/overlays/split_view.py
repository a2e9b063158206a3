"""On the left what bicubic interpolation makes of the frame, on the right what the network made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from app.overlays.text_panel import TextPanel, letter
from app.overlays.view_state import ViewState
from app.pipeline.frame import OutputFrame
from engines.base import Image
from engines.bicubic import enlarge

MARGIN = 3
"""Source columns beyond the cut: cubic interpolation looks two ahead, and would see the edge there."""


class SplitView:
    """Draws into the picture while view.compare is on: same frame, same framing, both sides labelled."""

    stage = "overlay"

    def __init__(
        self,
        view: ViewState,
        *,
        before: Sequence[str] = ("bicubic",),
        after: Sequence[str] = ("upscaled",),
        panel: Callable[..., TextPanel] = TextPanel,
    ) -> None:
        """`before` and `after` are lines that name the sides; `panel` draws them, as Panel does."""
        self._view, self._texts, self._make = view, (before, after), panel
        self._scratch: Image = np.empty((0, 0, 3), np.uint8)
        self._labels: tuple[TextPanel, ...] = ()

    def write(self, picture: OutputFrame) -> None:
        if not self._view.compare:
            return
        image = picture.image
        height, width = image.shape[:2]
        if self._scratch.shape != image.shape:
            self._scratch = np.empty_like(image)
            self._labels = tuple(self._make(t, height=letter(height), width=max(8, width // 3)) for t in self._texts)
        cut = round(self._view.divider * width)
        self._before(picture, cut)
        thick = max(1, height // 360)
        cv2.line(image, (cut, 0), (cut, height), (255, 255, 255), thick)
        left, right = self._labels
        gap = letter(height)
        low = height - left.size[1] - gap
        # A label goes with its side off the picture instead of standing on the other.
        left.draw(image, min(gap, cut - gap - left.size[0]), low)
        right.draw(image, max(width - gap - right.size[0], cut + gap), low)

    def _before(self, picture: OutputFrame, cut: int) -> None:
        """Bicubic into the first `cut` columns, at the cost of these columns."""
        source, image = picture.frame.image, picture.image
        scale = image.shape[1] // source.shape[1]
        columns = min(source.shape[1], -(-cut // scale) + MARGIN)
        enlarge(source[:, :columns], self._scratch[:, : columns * scale])
        image[:, :cut] = self._scratch[:, :cut]

    def idle(self) -> None:
        pass

    def close(self) -> None:
        pass
