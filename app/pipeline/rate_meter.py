"""How often something happens, over the last seconds."""

from __future__ import annotations

import time
from collections import deque

import numpy as np


class RateMeter:
    """How often something happens, in events a second. Written by one thread; anyone may read."""

    def __init__(self, window: float = 2.0) -> None:
        """`window`: seconds that it is the mean of."""
        self._window = window
        self._times: deque[float] = deque(maxlen=240)

    def add(self, now: float) -> None:
        """It has happened, in seconds of time.monotonic()."""
        self._times.append(now)

    def steady(self) -> float:
        """As it was when it happened last; 0 until there is a whole window: a burst at the start is no rate."""
        times = list(self._times)
        full = len(times) == self._times.maxlen or (len(times) > 1 and times[-1] - times[0] >= self._window)
        return self._until(times) if full else 0.0

    def now(self) -> float:
        """As it is at this moment, from the second event on; while the next one is overdue it falls."""
        times = list(self._times)
        # No rate is higher than if the next event came now.
        return min(self._until(times), self._until([*times, time.monotonic()])) if len(times) > 1 else 0.0

    def _until(self, times: list[float]) -> float:
        """The mean over the window that ends with the last of `times`, or over what there is of it.

        The interval that the window begins in counts by the part of it that lies inside: so the mean is exact at every
        rate, less than one event in a window too, and does not jump when an event leaves the window.
        """
        if len(times) < 2 or times[-1] <= times[0]:
            return 0.0
        begin = max(times[0], times[-1] - self._window)
        return float(len(times) - 1 - np.interp(begin, times, np.arange(len(times)))) / (times[-1] - begin)
