"""What the window shows: the visible part of the picture at its scale, and over it what keeps its size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from app.overlays.view_state import ViewState
from app.pipeline.frame import OutputFrame
from app.pipeline.protocols import Overlay, PolledSink
from engines.base import Image


class Screen:
    """An overlay that prepares what is to be seen, and a sink that shows it in the window. Main thread only.

    Only the visible part is scaled. A picture that stands in the window as it is, whole and 1:1, is drawn on in place.
    """

    def __init__(self, window: PolledSink, view: ViewState, overlays: Sequence[Overlay], *, copy: bool = False) -> None:
        """Show pictures in `window` with `overlays` over them; `view` says which part.

        `copy`: leave the picture itself as it is, because it is recorded afterwards.
        """
        self._window, self._view, self._overlays, self._copy = window, view, overlays, copy
        self._canvas: Image = np.empty((0, 0, 3), np.uint8)
        self._place = (0, 0, 0, 0)
        self._prepared: OutputFrame | None = None

    def draw(self, frame: OutputFrame) -> None:
        """Prepare the visible part of `frame`, and draw the overlays over it."""
        image, view = frame.image, self._view
        view.picture = image.shape[1], image.shape[0]
        viewport = view.viewport()
        x, y, width, height = viewport.place
        whole = viewport.part == viewport.place == (0, 0, *view.picture)
        if whole and not self._copy and view.window in ((0, 0), view.picture):
            shown = area = image
        else:
            shown = self._cleared(viewport.place)
            area = shown[y : y + height, x : x + width]
            left, top, across, down = viewport.part
            scaled(image[top : top + down, left : left + across], area, exact=view.zoomed)
        visible = OutputFrame(area, frame.input, frame.size, viewport.part)
        for overlay in self._overlays:
            overlay.draw(visible)
        self._prepared = OutputFrame(shown, frame.input, frame.size, viewport.part)

    def write(self, frame: OutputFrame) -> None:
        """Show what was prepared of `frame`."""
        prepared, self._prepared = self._prepared, None
        self._window.write(prepared or frame)

    def poll(self) -> None:
        """Let the window handle its events."""
        self._window.poll()

    def _cleared(self, place: tuple[int, int, int, int]) -> Image:
        """Return the canvas, which has the window's size and is black around `place`."""
        width, height = self._view.window if min(self._view.window) > 0 else self._view.picture
        if self._canvas.shape[:2] != (height, width):
            self._canvas = np.zeros((height, width, 3), np.uint8)
        elif self._place != place:
            self._canvas.fill(0)  # the bars are elsewhere now
        self._place = place
        return self._canvas


def scaled(part: Image, area: Image, *, exact: bool) -> None:
    """Scale `part` into `area`, both uint8 [H, W, 3].

    `exact`: it is enlarged by a whole number, and pixels are to be seen as they are.
    """
    width, height = area.shape[1], area.shape[0]
    if part.shape == area.shape:
        np.copyto(area, part)
        return
    smooth = cv2.INTER_LINEAR if width > part.shape[1] else cv2.INTER_AREA
    cv2.resize(part, (width, height), dst=area, interpolation=cv2.INTER_NEAREST if exact else smooth)
