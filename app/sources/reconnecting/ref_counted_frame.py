"""A frame whose memory several frames share."""

from __future__ import annotations

import threading

from app.pipeline.frame import Frame
from engines.base import Image


class RefCountedFrame:
    """A frame that is released when the last of its users has given it up. Any thread may use it."""

    def __init__(self, frame: Frame) -> None:
        self._frame, self._lock = frame, threading.Lock()
        self._references = 0  # guarded by `_lock`
        self.image, self.decode = frame.image, frame.decode

    def retain(self) -> None:
        """Keep the memory until release() is called once more."""
        with self._lock:
            self._references += 1

    def release(self, _image: Image | None = None) -> None:
        """Give up one reference; the last one returns the memory to its source."""
        with self._lock:
            self._references -= 1
            last = self._references == 0
        if last:
            self._frame.release()
