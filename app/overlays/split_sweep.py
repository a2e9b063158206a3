"""Moves the wipe slowly there and back, and lets go of it for a while when a visitor takes it."""

from __future__ import annotations

import math
import time

from app.overlays.view_state import ViewState
from app.pipeline.frame import OutputFrame

EDGE = 0.06
"""How near the divider comes to the picture's edges, as a share of its width."""
HANDS_OFF = 15.0
"""Seconds it waits after a visitor has moved the divider."""


class SplitSweep:
    """Writes view.divider; comes before the wipe among the sinks."""

    stage = "overlay"

    def __init__(self, view: ViewState, period: float) -> None:
        """`period`: seconds for there and back."""
        self._view, self._period = view, period
        self._phase, self._last = 0.25, time.monotonic()  # begins in the middle
        self._set = view.divider
        self._held = float("-inf")

    def write(self, picture: OutputFrame) -> None:
        now = time.monotonic()
        step, self._last = now - self._last, now
        if self._view.divider != self._set:
            self._held, self._set = now, self._view.divider
        if now - self._held < HANDS_OFF:
            # It goes on from where the visitor has left it.
            place = min(1.0, max(-1.0, (0.5 - self._set) / (0.5 - EDGE)))
            self._phase = math.acos(place) / (2 * math.pi)
            return
        self._phase = (self._phase + min(step, 1.0) / self._period) % 1.0
        self._view.move(0.5 - (0.5 - EDGE) * math.cos(2 * math.pi * self._phase))
        self._set = self._view.divider

    def idle(self) -> None:
        pass

    def close(self) -> None:
        pass
