"""What the C library keeps of memory that nobody uses any more is given back to the system, now and then."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

PERIOD = 60.0


def of_glibc(name: str) -> Callable[..., int] | None:
    """A function that glibc alone has, as those of its malloc are; None elsewhere."""
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
        return function
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return None


def trimmer() -> Callable[[int], int] | None:
    """malloc_trim, which gives back whole free pages in the middle too (malloc_trim(3)); None without glibc."""
    return of_glibc("malloc_trim")


class HeapTrimmer:
    """Trims it once a `period`, in seconds, by a thread of its own, until it is closed.

    Cameras and codecs that come and go leave holes of their own sizes, and the heap grows by a few megabytes in an
    hour of them without anything being lost.
    """

    def __init__(self, period: float = PERIOD) -> None:
        self._period, self._trim = period, trimmer()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="heap", daemon=True)
        if self._trim is not None:
            self._thread.start()

    def _work(self) -> None:
        assert self._trim is not None
        while not self._stop.wait(self._period):
            self._trim(0)

    def close(self) -> None:
        """Idempotent; at most as long as one trim takes."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(1)
