"""What the keys and the mouse have changed, read by whoever draws. Main thread only."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from app.overlays.viewport import WHOLE, Viewport, steps, viewport

NOTICE_S = 2.5
"""How long a notice stays."""

NOT_SHARED = {"_notice", "_until"}
"""What a window in a process of its own has no use for."""

TEXT_LINES = 72
"""Heights of a capital letter in the height of the screen."""
MIN_TEXT_LINES = 20
"""Heights of a capital letter in a picture that is small on the screen, at least: text must not cover it."""
UNKNOWN_SCREEN_TEXT_PX = 15
"""Height of a capital letter on a screen of unknown size: that on one of 1080 lines."""


@dataclass
class ViewState:
    """What is shown, and how. Main thread only. Sizes are (width, height) in pixels."""

    split: bool = False
    divider: float = 0.5
    """Where the divider stands, from 0 (left edge of the visible part) to 1."""
    overlay: bool = True
    help: bool = False
    fullscreen: bool = False
    magnifier: bool = False
    zoom: int = WHOLE
    """Screen pixels for one of the picture; WHOLE: the whole picture, as large as it goes into the window."""
    centre: tuple[float, float] = (0.5, 0.5)
    """Which point of the picture is in the middle of the window while it is zoomed, in shares of its size."""
    picture: tuple[int, int] = (0, 0)
    """Size of the upscaled picture; (0, 0) before the first."""
    window: tuple[int, int] = (0, 0)
    """Size of the window's inside; (0, 0) while there is none."""
    screen: tuple[int, int] = (0, 0)
    """Size of the screen; (0, 0) if unknown."""
    _notice: str = field(default="", repr=False)
    _until: float = field(default=0.0, repr=False)

    def say(self, text: str) -> None:
        """Show a short message for a while."""
        self._notice, self._until = text, time.monotonic() + NOTICE_S

    @property
    def notice(self) -> str:
        """The message to show now, or ""."""
        return self._notice if time.monotonic() < self._until else ""

    def move(self, divider: float) -> None:
        """Put the divider at a share of the visible part's width; it stays inside."""
        self.divider = min(1.0, max(0.0, divider))

    def viewport(self, picture: tuple[int, int] | None = None) -> Viewport:
        """Return which part of a picture is visible, and where; without a size, of the last picture."""
        return viewport(picture or self.picture, self.window, self.zoom, self.centre)

    @property
    def zoomed(self) -> bool:
        """Whether a part of the picture is shown, enlarged by a whole number."""
        return min(self.picture) > 0 and self.zoom in self._steps()[1:]

    def zoom_by(self, step: int, pointer: tuple[float, float] | None = None) -> None:
        """Zoom in (step 1) or out (-1), and keep what is under the pointer there; None: what is in the middle.

        `pointer` is in pixels of the window.
        """
        if min(self.picture) <= 0:
            return
        zooms = self._steps()
        at = zooms.index(self.zoom) if self.zoom in zooms else 0
        self._zoom_to(zooms[min(len(zooms) - 1, max(0, at + step))], pointer)

    def zoom_round(self, pointer: tuple[float, float] | None = None) -> None:
        """Zoom in one step; after the last one, show the whole picture again."""
        if min(self.picture) > 0:
            zooms = self._steps()
            at = zooms.index(self.zoom) if self.zoom in zooms else 0
            self._zoom_to(zooms[(at + 1) % len(zooms)], pointer)

    def pan(self, centre: tuple[float, float]) -> None:
        """Bring a point of the picture, in shares of its size, into the middle, as far as the picture's edges allow."""
        self.centre = centre
        part = self.viewport().part
        self.centre = (
            (part.x + part.width / 2) / self.picture[0],
            (part.y + part.height / 2) / self.picture[1],
        )

    def _steps(self) -> list[int]:
        return steps(self.picture, self.window if min(self.window) > 0 else self.picture)

    def _zoom_to(self, zoom: int, pointer: tuple[float, float] | None) -> None:
        window = self.window if min(self.window) > 0 else self.picture
        x, y = pointer or (window[0] / 2, window[1] / 2)
        before = self.viewport().at(x, y)
        self.zoom = zoom
        if zoom == WHOLE:
            self.centre = (0.5, 0.5)
            return
        self.pan(
            (
                (before[0] - (x - window[0] / 2) / zoom) / self.picture[0],
                (before[1] - (y - window[1] / 2) / zoom) / self.picture[1],
            )
        )

    def text_height(self, height: int) -> int:
        """Return the height of a capital letter in pixels on a picture that is `height` pixels high on the screen.

        It is the same however the picture is scaled, unless the picture is very small.
        """
        wanted = round(self.screen[1] / TEXT_LINES) if self.screen[1] else UNKNOWN_SCREEN_TEXT_PX
        return max(4, min(wanted, height // MIN_TEXT_LINES))

    def scale_text(self) -> str:
        """Return at which scale the picture is shown, for the overlay; "" at 1:1."""
        if min(self.picture) <= 0:
            return ""
        scale = self.viewport().scale
        if self.zoomed:
            return f"zoom {self.zoom}:1"
        return "" if round(100 * scale) == 100 else f"shown at {100 * scale:.0f} %"

    def shared(self) -> dict[str, Any]:
        """Return what a window in a process of its own needs."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name not in NOT_SHARED}

    def update(self, values: Mapping[str, Any]) -> None:
        """Take on what shared() of another ViewState has returned, or a part of it, even if it came as JSON."""
        for name, value in values.items():
            setattr(self, name, tuple(value) if isinstance(value, list) else value)


def handle_radius(text_height: int) -> int:
    """Return the radius in pixels of the divider's handle, beside letters of this height."""
    return max(6, round(1.6 * text_height))
