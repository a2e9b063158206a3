"""A thread that opens a source and reads it, and that may hang in a driver without anybody waiting for it."""

from __future__ import annotations

import contextlib
import threading
import time
import zlib
from collections.abc import Callable

from app.pipeline.frame import Frame
from app.pipeline.pacing import paced
from app.pipeline.protocols import Source
from app.sources.reconnecting.hotplug import Probe, no_probe
from engines.base import fits
from engines.errors import UserError
from engines.support import nvtx

PROBE_PERIOD_S = 0.2
"""Time between two probes for a device's return."""
NOT_PROBED = object()
"""The token before the first probe."""


class ReaderThread:
    """Opens a source once and reads it to its end. The newest picture can be taken; older ones are released."""

    def __init__(
        self,
        open_: Callable[[], Source],
        changed: threading.Condition,
        *,
        delay_s: float = 0.0,
        probe: Probe = no_probe,
        last_seen: object = NOT_PROBED,
    ) -> None:
        """Open after `delay_s`, or at once when `probe` finds a device that was not there. Notifies `changed`.

        `last_seen`: the token of the reader before this one, so that a device that came while that one opened in vain
        is found.
        """
        self._changed, self._delay_s, self._probe = changed, delay_s, probe
        self._latest: Frame | None = None  # guarded by `changed`
        self._ended = threading.Event()
        # Written by the reader thread, each in one assignment; read by whoever owns this.
        self._source: Source | None = None
        self.last_seen = last_seen
        """The token of the last probe."""
        self.over = False
        """Whether the reading has ended; written under `changed`."""
        self.error: UserError | None = None
        """Why it has ended, if with an error. Set before `over`."""
        self.opening: float | None = None
        """When opening began, in seconds of time.monotonic()."""
        self.opened: float | None = None
        """When the source was open, in seconds of time.monotonic(). Set after `name` and `fps`."""
        self.name, self.fps = "", 0.0
        # Nothing here keeps `open_`, which may refer to the reader before this one, and so to all before it.
        self.thread = threading.Thread(target=self._work, args=(open_,), name="reader", daemon=True)
        self.thread.start()

    def take(self) -> Frame | None:
        """Return the newest picture if it has not been taken yet. The caller holds `changed`."""
        frame, self._latest = self._latest, None
        return frame

    @property
    def waiting(self) -> bool:
        """Whether there is a picture to take, or the reading is over. The caller holds `changed`."""
        return self._latest is not None or self.over

    @property
    def alive(self) -> bool:
        """Whether the thread is still there, perhaps inside a driver."""
        return self.thread.is_alive()

    def end(self) -> None:
        """Have the source closed as soon as the thread is out of it. Returns at once."""
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
            self._wait()
            if not self._ended.is_set():
                self._read(open_)
        except UserError as error:
            self.error = error.with_traceback(None)
        except Exception as error:  # whatever a driver raises must not end an exhibition
            self.error = UserError("The source has failed", f"{type(error).__name__}: {error}")
        finally:
            with self._changed:
                self.over = True
                self._changed.notify_all()

    def _wait(self) -> None:
        """Wait between two openings, until the device is back if that is sooner."""
        until = time.monotonic() + self._delay_s
        if self._delay_s and self.last_seen is NOT_PROBED:
            self.last_seen = self._probe()
        while (left := until - time.monotonic()) > 0 and not self._ended.wait(min(PROBE_PERIOD_S, left)):
            before, self.last_seen = self.last_seen, self._probe()
            if self.last_seen is not None and self.last_seen != before:
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
                if not fits(frame.size):  # a broken header can give any size
                    frame.release()
                    continue
                with self._changed:
                    superseded = frame if self._ended.is_set() else self.take()
                    if superseded is not frame:
                        self._latest = frame
                        self._changed.notify_all()
                if superseded is not None:
                    superseded.release()
                if superseded is frame:
                    return


def fingerprint(frame: Frame) -> int:
    """Return a checksum of every fourth row: a sensor's noise changes each of them from one picture to the next."""
    value = 0
    for row in frame.image[::4]:
        value = zlib.crc32(row, value)
    return value
