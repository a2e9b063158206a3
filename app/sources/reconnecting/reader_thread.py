"""Opens a source and reads it in a thread of its own, which may hang without anybody waiting for it."""

from __future__ import annotations

import contextlib
import threading
import time
import zlib
from collections.abc import Callable

from app.pipeline.frame import Frame
from app.pipeline.pacing import paced
from app.pipeline.protocols import Source
from app.sources.reconnecting.hotplug import Look, nothing
from engines.base import fits
from engines.errors import UserError
from engines.support import nvtx

LOOK = 0.2
"""Seconds between two looks for a device's return."""
UNKNOWN = object()
"""Nobody has looked yet."""


class ReaderThread:
    """One opening of a source. `latest` of its pictures can be taken; `over` when it has ended, and `why`."""

    def __init__(
        self,
        open_: Callable[[], Source],
        changed: threading.Condition,
        *,
        delay: float = 0.0,
        look: Look = nothing,
        seen: object = UNKNOWN,
    ) -> None:
        """Opens after `delay` seconds, or at once when `look` finds a device that was not there. Notifies `changed`.

        `seen`: that of the reader before, so that what came while it opened in vain is found.
        """
        self._changed, self._delay, self._look, self.seen = changed, delay, look, seen
        self._latest: Frame | None = None
        self._source: Source | None = None
        self._ended = threading.Event()
        self.over = False
        self.why: UserError | None = None
        self.opening: float | None = None
        """When opening began, time.monotonic()."""
        self.opened: float | None = None
        self.name, self.fps = "", 0.0
        # Nothing here keeps `open_`: it can know of the reader before this one, and so of all that there have been.
        self.thread = threading.Thread(target=self._work, args=(open_,), name="reader", daemon=True)
        self.thread.start()

    def take(self) -> Frame | None:
        """The newest picture that has not been taken yet. The caller holds `changed`."""
        frame, self._latest = self._latest, None
        return frame

    @property
    def waiting(self) -> bool:
        """Whether there is something to take, or it is over. The caller holds `changed`."""
        return self._latest is not None or self.over

    @property
    def alive(self) -> bool:
        """Whether the thread is still there, perhaps inside a driver."""
        return self.thread.is_alive()

    def end(self) -> None:
        """Let go of the source as soon as it lets go of the thread. Returns at once."""
        self._ended.set()
        source = self._source
        if source is not None:
            source.close()
        with self._changed:
            frame = self.take()
        if frame is not None:
            frame.release()

    def _work(self, open_: Callable[[], Source]) -> None:
        try:
            self._await()
            if not self._ended.is_set():
                self._read(open_)
        except UserError as error:
            self.why = error.with_traceback(None)
        except Exception as error:  # a driver's surprise must not end an exhibition
            self.why = UserError("The source has failed", f"{type(error).__name__}: {error}")
        finally:
            with self._changed:
                self.over = True
                self._changed.notify_all()

    def _await(self) -> None:
        """The pause between two openings, cut short by the device's return."""
        until = time.monotonic() + self._delay
        if self._delay and self.seen is UNKNOWN:
            self.seen = self._look()
        while (left := until - time.monotonic()) > 0 and not self._ended.wait(min(LOOK, left)):
            before, self.seen = self.seen, self._look()
            if self.seen is not None and self.seen != before:
                return

    def _read(self, open_: Callable[[], Source]) -> None:
        self.opening = time.monotonic()
        source = open_()
        with contextlib.closing(source):
            self._source, self.name, self.fps = source, source.name, source.fps
            self.opened = time.monotonic()
            if self._ended.is_set():
                return
            frames = nvtx.nvtx_iterate("read", source)
            for frame in frames if source.paced else paced(frames, self._ended):
                if not fits(frame.size):  # a broken header can give any
                    frame.release()
                    continue
                with self._changed:
                    gone = frame if self._ended.is_set() else self.take()
                    if gone is not frame:
                        self._latest = frame
                        self._changed.notify_all()
                if gone is not None:
                    gone.release()
                if gone is frame:
                    return


def fingerprint(frame: Frame) -> int:
    """A checksum of every fourth row: the noise of a sensor changes all of them from one picture to the next."""
    value = 0
    for row in frame.image[::4]:
        value = zlib.crc32(row, value)
    return value
