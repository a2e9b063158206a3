"""How often something has happened over the last seconds."""

from __future__ import annotations

import time
from collections import deque

import numpy as np


class RateMeter:
    """The rate of an event, in events a second. One thread adds, any thread reads."""

    def __init__(self, window_s: float = 2.0) -> None:
        """Make a meter that takes the mean over `window_s` seconds."""
        self._window_s = window_s
        self._times: deque[float] = deque(maxlen=240)

    def add(self, now: float) -> None:
        """Count an event at `now`, in seconds of time.monotonic()."""
        self._times.append(now)

    def steady(self) -> float:
        """Return the rate at the last event; 0 until a whole window is known: a burst at the start is no rate."""
        times = list(self._times)
        full = len(times) == self._times.maxlen or (len(times) > 1 and times[-1] - times[0] >= self._window_s)
        return self._until(times) if full else 0.0

    def now(self) -> float:
        """Return the rate at this moment, from the second event on; it falls while the next one is overdue."""
        times = list(self._times)
        # No rate is higher than if the next event came now.
        return min(self._until(times), self._until([*times, time.monotonic()])) if len(times) > 1 else 0.0

    def _until(self, times: list[float]) -> float:
        """Return the mean over the window that ends with the last of `times`, or over what there is of it.

        The interval in which the window begins counts by the part that lies inside. So the mean is exact at any rate,
        even below one event a window, and does not jump when an event leaves the window.
        """
        if len(times) < 2 or times[-1] <= times[0]:
            return 0.0
        begin = max(times[0], times[-1] - self._window_s)
        return float(len(times) - 1 - np.interp(begin, times, np.arange(len(times)))) / (times[-1] - begin)
