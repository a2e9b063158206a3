"""What the keys have changed, read by whoever draws. Main thread only."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

NOTICE_S = 2.5
"""How long a notice stays."""


@dataclass
class ViewState:
    """What is shown, and how. Main thread only."""

    split: bool = False
    divider: float = 0.5
    """Where the divider stands, from 0 (left edge) to 1."""
    overlay: bool = True
    help: bool = False
    fullscreen: bool = False
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
        """Put the divider at a share of the picture's width; it stays inside the picture."""
        self.divider = min(1.0, max(0.0, divider))
