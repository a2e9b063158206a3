"""Moves the divider of the split view slowly there and back, and pauses for a while when a visitor takes it."""

from __future__ import annotations

import math
import time

from app.overlays.view_state import ViewState

EDGE_SHARE = 0.06
"""How near the divider comes to the picture's edges, as a share of its width."""
HANDS_OFF_S = 15.0
"""How long it waits after a visitor has moved the divider."""


class SplitSweep:
    """Moves view.divider by itself."""

    def __init__(self, view: ViewState, period_s: float) -> None:
        """Move the divider of `view` there and back in `period_s` seconds."""
        self._view, self._period_s = view, period_s
        self._phase, self._last = 0.25, time.monotonic()  # begins in the middle
        self._set = view.divider
        self._held = float("-inf")

    def advance(self) -> None:
        """Move the divider to where it belongs now, unless a visitor has moved it a short while ago."""
        now = time.monotonic()
        step, self._last = now - self._last, now
        if self._view.divider != self._set:
            self._held, self._set = now, self._view.divider
        if now - self._held < HANDS_OFF_S:
            # It goes on from where the visitor has left it.
            place = min(1.0, max(-1.0, (0.5 - self._set) / (0.5 - EDGE_SHARE)))
            self._phase = math.acos(place) / (2 * math.pi)
            return
        self._phase = (self._phase + min(step, 1.0) / self._period_s) % 1.0
        self._view.move(0.5 - (0.5 - EDGE_SHARE) * math.cos(2 * math.pi * self._phase))
        self._set = self._view.divider
