"""What only the window shows: that a recording runs, and for the first seconds how to get help."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2

from app.overlays.magnifier import Magnifier
from app.overlays.text_panel import PanelCache, TextHeight
from app.overlays.view_state import ViewState
from app.pipeline.frame import OutputFrame

HINT_S = 10.0
"""How long the window says how to get help, from its first picture on."""
RED = (40, 40, 230)
"""Of the mark, blue, green, red."""


class RecordingMark:
    """An overlay with a red dot and REC in the upper right corner, while pictures are being recorded.

    It does not blink: whoever glances at the screen, or photographs it, sees it.
    """

    def __init__(self, recording: Callable[[], bool], magnifier: Magnifier, text_height: TextHeight) -> None:
        """Ask `recording` with each picture; stand below the panes of `magnifier`, in letters of `text_height`."""
        self._recording, self._magnifier, self._text_height = recording, magnifier, text_height
        self._panels = PanelCache()

    def draw(self, frame: OutputFrame) -> None:
        """Draw the mark if a recording runs."""
        if not self._recording():
            return
        image = frame.image
        height, width = image.shape[:2]
        cap = self._text_height(height)
        # In the second column: the first, which is empty, is the dot's place.
        panel = self._panels.panel("mark", ["\tREC"], height=cap, width=width - 2 * cap)
        x, y = width - cap - panel.size[0], self._magnifier.bottom + cap
        panel.draw(image, x, y)
        radius = max(2, round(0.62 * cap))
        cv2.circle(image, (x + cap + radius, y + panel.size[1] // 2), radius, RED, cv2.FILLED, cv2.LINE_AA)


class HelpHint:
    """An overlay that says which key gives help, for some seconds from its first picture on."""

    def __init__(self, view: ViewState, text_height: TextHeight) -> None:
        """Draw in letters of `text_height`, until the help is called."""
        self._view, self._text_height = view, text_height
        self._until: float | None = None
        self._panels = PanelCache()

    def draw(self, frame: OutputFrame) -> None:
        """Draw the hint while it is new and nothing else stands in its place."""
        now = time.monotonic()
        self._until = now + HINT_S if self._until is None else self._until
        if self._view.help:
            self._until = now  # whoever has found the key needs no hint any more
        if now >= self._until or self._view.notice:
            return
        height, width = frame.image.shape[:2]
        cap = self._text_height(height)
        panel = self._panels.panel("hint", ["h: help"], height=cap, width=width - 2 * cap)
        panel.draw(frame.image, (width - panel.size[0]) // 2, height - panel.size[1] - cap)
