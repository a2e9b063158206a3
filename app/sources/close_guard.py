"""Decides which of two threads frees a device that one of them reads and the other one closes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class CloseGuard:
    """A context manager for the reading, and a close() that any thread may call at any time, more than once.

    A driver or demuxer that is freed while a thread is inside it crashes. So the reader frees what it reads on its way
    out, and close() frees it only if nobody has begun to read. It is freed exactly once.
    """

    def __init__(self, free: Callable[[], None]) -> None:
        """`free` frees the device; it is called once, under the lock."""
        self._lock = threading.Lock()
        self._free: Callable[[], None] | None = free  # guarded by `_lock`; None once it was called
        self._reading = False  # set under `_lock`
        self.ended = threading.Event()
        """Set by close(); the reader checks it between two frames, and waits on it where it has to wait."""

    def __enter__(self) -> threading.Event:
        with self._lock:
            self._reading = True
        return self.ended

    def __exit__(self, *_: Any) -> None:
        self._reading = False
        self.close()

    def close(self) -> None:
        """End the reading, and free the device unless the reader will do so."""
        self.ended.set()
        with self._lock:
            if self._reading or self._free is None:
                return
            free, self._free = self._free, None
            free()
