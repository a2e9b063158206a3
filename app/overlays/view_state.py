"""What the keys have changed; read by whoever draws. Main thread only."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

NOTICE = 2.5
"""Seconds a notice stays."""


@dataclass
class ViewState:
    """What is shown, and how."""

    compare: bool = False
    divider: float = 0.5
    """Where the wipe stands, 0 (left edge) to 1."""
    overlay: bool = True
    help: bool = False
    fullscreen: bool = False
    _notice: str = field(default="", repr=False)
    _until: float = field(default=0.0, repr=False)

    def say(self, text: str) -> None:
        """Show a short message for a while."""
        self._notice, self._until = text, time.monotonic() + NOTICE

    @property
    def notice(self) -> str:
        """The message that is due, or ""."""
        return self._notice if time.monotonic() < self._until else ""

    def move(self, divider: float) -> None:
        """Put the wipe somewhere; kept inside the picture."""
        self.divider = min(1.0, max(0.0, divider))
