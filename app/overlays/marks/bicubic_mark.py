"""A small word on the picture while it is interpolated in place of what a model would make."""

from __future__ import annotations

from collections.abc import Callable

from app.overlays.text_panel import PanelCache, TextHeight, cap_height
from app.overlays.view_state import ViewState
from app.pipeline.frame import OutputFrame


class BicubicMark:
    """An overlay with the word "bicubic" in the lower right corner, where the split view has its label.

    It says what the picture is and raises no alarm: visitors may read it. What has happened is on the statistics and in
    the log. Where there is a caption, that says it in the visitors' languages instead.
    """

    def __init__(self, view: ViewState, interpolated: Callable[[], bool], text_height: TextHeight = cap_height) -> None:
        """Mark the pictures of which `interpolated` is true, except while `view` is split: then the labels say it.

        The letters are of `text_height`.
        """
        self._view, self._interpolated, self._text_height = view, interpolated, text_height
        self._panels = PanelCache()

    def draw(self, frame: OutputFrame) -> None:
        """Draw the mark, if the picture needs one."""
        if self._view.split or not self._interpolated():
            return
        height, width = frame.image.shape[:2]
        gap = self._text_height(height)
        panel = self._panels.panel("mark", ["bicubic"], height=gap, width=width - 2 * gap)
        panel.draw(frame.image, width - panel.size[0] - gap, height - panel.size[1] - gap)
