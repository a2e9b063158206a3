"""Decides which of two threads frees a device that one of them reads and the other ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class CloseGuard:
    """`with` around the reading; close() from anywhere, at any time, more than once.

    A driver or demuxer that is freed under the thread inside it crashes. So the reader frees what it reads, on
    its way out, and close() frees it only where nobody has begun to read. It is freed exactly once.
    """

    def __init__(self, free: Callable[[], None]) -> None:
        self._free: Callable[[], None] | None = free
        self._reading = False
        self._lock = threading.Lock()
        self.ended = threading.Event()
        """Set by close(): the reader looks at it between two frames, and waits on it where it has to wait."""

    def __enter__(self) -> threading.Event:
        with self._lock:
            self._reading = True
        return self.ended

    def __exit__(self, *_: Any) -> None:
        self._reading = False
        self.close()

    def close(self) -> None:
        """End the reading, and free the device unless the reader will."""
        self.ended.set()
        with self._lock:
            if self._reading or self._free is None:
                return
            free, self._free = self._free, None
            free()
