"""Figures, help and short notices on the picture."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.overlays.text_panel import PanelCache, TextHeight, TextPanel, cap_height
from app.overlays.view_state import ViewState
from app.pipeline.frame import OutputFrame

REFRESH_S = 0.5
"""Between two renderings of the figures: nobody can read them faster."""

HELP = [
    "q, Esc\tquit",
    "f\tfull screen",
    "space\tbefore and after",
    "<- ->\tmove the divider (or the mouse)",
    "z, wheel\tzoom to 2:1, 4:1 and back; drag to move",
    "m\tmagnifier",
    "+ -\tmore and less detail",
    "o\tfigures",
    "r\tstart and stop recording",
    "s\tsnapshot of before and after",
    "h\tthis help",
]


class StatsPanel:
    """An overlay with the figures, rendered twice a second, the help, and the notice that is due."""

    def __init__(
        self, view: ViewState, lines: Callable[[], list[str]], *, text_height: TextHeight = cap_height
    ) -> None:
        """Draw what `view` asks for in letters of `text_height`; `lines` returns the figures as they stand now."""
        self._view, self._lines, self._text_height = view, lines, text_height
        self._due = 0.0
        self._figures: list[str] = []
        self._panels = PanelCache()

    def draw(self, frame: OutputFrame) -> None:
        """Draw what is switched on."""
        height, width = frame.image.shape[:2]
        view, gap = self._view, self._text_height(height)
        if view.overlay:
            if time.monotonic() >= self._due:
                self._due, self._figures = time.monotonic() + REFRESH_S, self._lines()
            if self._figures:
                self._panel("figures", self._figures, width, height).draw(frame.image, gap, gap)
        if view.help:
            panel = self._panel("help", HELP, width, height)
            panel.draw(frame.image, (width - panel.size[0]) // 2, (height - panel.size[1]) // 2)
        if notice := view.notice:
            panel = self._panel("notice", [notice], width, height)
            panel.draw(frame.image, (width - panel.size[0]) // 2, height - panel.size[1] - gap)

    def _panel(self, name: str, lines: list[str], width: int, height: int) -> TextPanel:
        cap = self._text_height(height)
        return self._panels.panel(name, lines, height=cap, width=width - 2 * cap)
