"""When to try again what has failed: after pauses that grow."""

from __future__ import annotations


class Backoff:
    """The pauses of one thing that is tried again and again. Times are seconds of any one clock; no locking."""

    def __init__(self, first: float, longest: float | None = None, *, factor: float = 2.0) -> None:
        """The pause after a failure grows from `first` to `longest` seconds by `factor`; None: it stays `first`."""
        self.first, self.longest, self.factor = first, first if longest is None else longest, factor
        self._failures = 0
        self._due = float("-inf")

    def due(self, now: float) -> bool:
        """Return whether it is time to try."""
        return self._due <= now

    def wait(self, now: float) -> float:
        """Return the seconds until it is time to try, 0 if it is."""
        return max(0.0, self._due - now)

    def failed(self, now: float, failures: int | None = None) -> None:
        """Note a failure. `failures`: how many there were in a row, where the caller forgets old ones itself."""
        self._failures = self._failures + 1 if failures is None else failures
        steps = min(self._failures - 1, 30)  # a longer pause than that nobody wants, and no float overflows
        self._due = now + min(self.longest, self.first * self.factor**steps)

    def reset(self) -> None:
        """Forget all failures: it may be tried now, and the next pause is the first again."""
        self._failures, self._due = 0, float("-inf")
