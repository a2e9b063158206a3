"""The figures on the picture, the help, and short notices."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.overlays.text_panel import TextPanel, letter
from app.overlays.view_state import ViewState
from app.pipeline.frame import OutputFrame

PERIOD = 0.5
"""Seconds between two renderings of the figures: faster, nobody can read them."""

HELP = [
    "q, Esc\tquit",
    "f\tfull screen",
    "space\tbefore and after",
    "<- ->\tmove the divider (or the mouse)",
    "o\tfigures",
    "r\tstart and stop recording",
    "s\tsnapshot of before and after",
    "h\tthis help",
]


class StatsPanel:
    """Draws into the picture. Panels are rendered when their text changes, figures twice a second."""

    stage = "overlay"

    def __init__(self, view: ViewState, lines: Callable[[], list[str]]) -> None:
        """`lines`: the figures as they stand now."""
        self._view, self._lines = view, lines
        self._due = 0.0
        self._figures: list[str] = []
        self._panels: dict[str, tuple[tuple[object, ...], TextPanel]] = {}

    def write(self, picture: OutputFrame) -> None:
        height, width = picture.image.shape[:2]
        view, gap = self._view, letter(height)
        if view.overlay:
            if time.monotonic() >= self._due:
                self._due, self._figures = time.monotonic() + PERIOD, self._lines()
            if self._figures:
                self._panel("figures", self._figures, width, height).draw(picture.image, gap, gap)
        if view.help:
            panel = self._panel("help", HELP, width, height)
            panel.draw(picture.image, (width - panel.size[0]) // 2, (height - panel.size[1]) // 2)
        if notice := view.notice:
            panel = self._panel("notice", [notice], width, height)
            panel.draw(picture.image, (width - panel.size[0]) // 2, height - panel.size[1] - gap)

    def _panel(self, name: str, lines: list[str], width: int, height: int) -> TextPanel:
        key = (*lines, width, height)
        if name not in self._panels or self._panels[name][0] != key:
            self._panels[name] = key, TextPanel(lines, height=letter(height), width=width - 2 * letter(height))
        return self._panels[name][1]

    def idle(self) -> None:
        pass

    def close(self) -> None:
        pass
