"""A camera or stream that may go away and come back, as one source without an end.

While it is away the last picture is repeated, and after a while the attract loop is played; a frame's origin says so.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np

from app.pipeline.frame import Frame, FramePool, Origin, letterbox
from app.pipeline.protocols import Source
from app.sources.close_guard import CloseGuard
from app.sources.reconnecting.hotplug import Probe, no_probe
from app.sources.reconnecting.reader_thread import ReaderThread, fingerprint
from app.sources.reconnecting.ref_counted_frame import RefCountedFrame
from engines.base import Image
from engines.support.backoff import Backoff
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

MAX_HUNG_READERS = 3
"""Readers that may hang in a driver; after these nothing more is opened until one of them comes back."""
DEFAULT_SIZE = (640, 360)
"""(width, height) of the picture until the first one is there."""
HELD_FPS = 10.0
"""The rate at which the last picture is repeated."""
CONFIRM_SIZE_AFTER = 3
"""Pictures of a new size in a row after which it counts: each change costs an engine."""


class SourceOpeners(NamedTuple):
    """How to open what is shown."""

    live: Callable[[], Source]
    """Opens the camera or stream; raises SourceError."""
    attract: Callable[[tuple[int, int]], Source]
    """Opens the attract loop for a picture of that size (width, height); another size is fitted in."""
    probe: Probe = no_probe
    """Tells whether the camera or server is there, as app.sources.reconnecting.hotplug describes."""


class ReconnectTimeouts(NamedTuple):
    """How long a ReconnectingSource waits for what, in seconds."""

    first_pause_s: float = 0.5
    """Between two openings; doubles with each failure."""
    longest_pause_s: float = 5.0
    open_s: float = 20.0
    """What a source may take to open before another opening is tried beside it."""


class ReconnectingSource:
    """Live and paced. Iterated once, by the capture thread; close() may be called by any. ReaderThreads do the reading.

    `problem` and facts() are read by the main thread, without a lock: what they read is written in single assignments.
    """

    live = True
    paced = True
    camera = True

    def __init__(
        self,
        openers: SourceOpeners,
        *,
        name: str,
        size: tuple[int, int] | None = None,
        attract_after: float = 20.0,
        frozen_after: float = 2.0,
        timeouts: ReconnectTimeouts | None = None,
    ) -> None:
        """Begin to open the source.

        Args:
            openers: How to open the source and the attract loop.
            name: What the source is called until it is open.
            size: (width, height) of the picture until the first one is there; DEFAULT_SIZE by default.
            attract_after: Seconds away after which the attract loop is played.
            frozen_after: Seconds without a new picture after which the source counts as away.
            timeouts: How long to wait between openings, and for one.
        """
        self._timeouts = timeouts or ReconnectTimeouts()
        self._openers, self._attract_after_s, self._frozen_after_s = openers, attract_after, frozen_after
        self._changed = threading.Condition()
        self._guard = CloseGuard(lambda: None)
        # Written by the capture thread; read by the main thread, too.
        self.name, self.fps = name, 0.0
        self.losses = 0
        self._total_away_s = 0.0
        self._away_since: float | None = None
        self._reason = ""  # why the source is away
        # Capture thread only.
        self._began = time.monotonic()
        self._reader = ReaderThread(openers.live, self._changed)
        self._hung_readers: list[ReaderThread] = []
        self._attract: ReaderThread | None = None
        self._attract_reason = ""  # why the attract loop has failed
        self._reopen = Backoff(self._timeouts.first_pause_s, self._timeouts.longest_pause_s)
        self._frozen_limit_s = frozen_after  # grows with each reader that brings nothing new
        self._fingerprint: int | None = None
        self._fresh_at = time.monotonic()
        width, height = size or DEFAULT_SIZE
        blank: Image = np.zeros((height, width, 3), np.uint8)
        self._last = RefCountedFrame(Frame(blank, 0, 0, 0))
        self._last.retain()
        self._seen = False  # whether there has been a picture
        self._new_shape: tuple[int, ...] = blank.shape
        self._new_count = 0  # pictures of that shape in a row
        self._buffers = FramePool()
        self._offset: float | None = None  # from the reader's positions to ours
        self._position = 0.0

    @property
    def problem(self) -> str:
        """Why there is no live picture just now; empty if there is one."""
        return self._reason if self._away_since is not None else ""

    def facts(self) -> dict[str, Any]:
        """Return what --stats holds: how often the source has been away, and for how many seconds in all."""
        since = self._away_since  # read once: the capture thread may reset it
        away = self._total_away_s + (0.0 if since is None else time.monotonic() - since)
        return {"losses": self.losses, "seconds_away": round(away, 3)}

    def __iter__(self) -> Iterator[Frame]:
        index, shown_at = 0, 0.0
        with self._guard as ended:
            while not ended.is_set():
                frame = self._next(shown_at)
                if frame is None:
                    continue
                frame.index, index, shown_at = index, index + 1, time.monotonic()
                yield frame
        self._end()

    def close(self) -> None:
        """End the iteration soon. Idempotent."""
        self._guard.close()
        with self._changed:
            self._changed.notify_all()

    def _next(self, shown_at: float) -> Frame | None:
        """Return the next frame that is due; None if there was none within a moment."""
        due = shown_at + 1 / HELD_FPS - time.monotonic()
        with self._changed:
            self._changed.wait_for(self._has_news, max(0.01, due) if self._away_since is not None else 0.1)
            taken = self._reader.take()
            attract = self._attract.take() if self._attract is not None else None
        now = time.monotonic()
        if taken is not None and (frame := self._live_frame(taken, now)) is not None:
            if attract is not None:
                attract.release()
            return frame
        self._supervise(now)
        if self._away_since is None:
            return None
        if attract is not None:
            return self._attract_frame(attract, now)
        return self._held_frame(now) if now - shown_at >= 0.9 / HELD_FPS else None

    def _has_news(self) -> bool:
        return (
            self._guard.ended.is_set()
            or self._reader.waiting
            or (self._attract is not None and self._attract.waiting and not self._attract.over)
        )

    def _live_frame(self, frame: Frame, now: float) -> Frame | None:
        """Turn a picture of the reader into a frame of ours; None, with the picture released, if it is not new."""
        mark = fingerprint(frame)
        if mark == self._fingerprint:
            frame.release()
            return None
        self._fingerprint, self._fresh_at = mark, now
        if not self._confirmed(frame.image.shape):
            frame.release()
            return None
        self._note_return(now)
        offset = self._offset
        if offset is None:
            offset = self._offset = max(self._position, frame.captured - self._began) - frame.position
        self._keep(RefCountedFrame(frame))
        return self._frame(self._last, frame.captured, frame.position + offset, Origin.LIVE)

    def _confirmed(self, shape: tuple[int, ...]) -> bool:
        if shape == self._last.image.shape:
            self._new_count = 0
            return True
        self._new_count = self._new_count + 1 if shape == self._new_shape else 1
        self._new_shape = shape
        return not self._seen or self._new_count >= CONFIRM_SIZE_AFTER

    def _keep(self, shared: RefCountedFrame) -> None:
        shared.retain()
        self._last.release()
        self._last, self._seen = shared, True

    def _frame(self, shared: RefCountedFrame, captured: float, position: float, origin: Origin) -> Frame:
        shared.retain()
        self._position = max(self._position, position)
        decode = shared.decode if origin is Origin.LIVE else 0.0
        return Frame(shared.image, 0, captured, self._position, decode, on_release=shared.release, origin=origin)

    def _held_frame(self, now: float) -> Frame:
        return self._frame(self._last, now, now - self._began, Origin.HELD)

    def _attract_frame(self, frame: Frame, now: float) -> Frame:
        """Turn a picture of the attract loop into a frame of the size that the engine has."""
        self._position = max(self._position, now - self._began)
        height, width = self._last.image.shape[:2]
        if frame.size == (width, height):
            frame.origin, frame.position = Origin.ATTRACT, self._position
            return frame
        image = fitted(frame.image, self._buffers.acquire(height, width))
        frame.release()
        give = self._buffers.release
        return Frame(image, 0, frame.captured, self._position, frame.decode, on_release=give, origin=Origin.ATTRACT)

    # Looking after the readers, in the capture thread.

    def _supervise(self, now: float) -> None:
        """Replace a reader that has ended or brings nothing new, and start the attract loop when it is due."""
        reader = self._reader
        self._hung_readers = [hung for hung in self._hung_readers if hung.alive]
        room = len(self._hung_readers) < MAX_HUNG_READERS
        if reader.over:
            self._next_reader(str(reader.error or f"{reader.name or self.name} has ended"), now)
        elif reader.opened is not None:
            if now - max(self._fresh_at, reader.opened) > self._frozen_limit_s and room:
                self._next_reader(f"{reader.name} has delivered no new picture for {self._frozen_limit_s:g} s", now)
        elif reader.opening is not None and now - reader.opening > self._timeouts.open_s and room:
            self._next_reader(f"{self.name} has not opened within {self._timeouts.open_s:g} s", now)
        if self._away_since is None and now - self._fresh_at > self._frozen_after_s:
            self._note_loss("it has not opened yet" if not self._seen else "no new picture", now)
        if self._away_since is not None and self._attract is None and now - self._away_since >= self._attract_after_s:
            height, width = self._last.image.shape[:2]
            self._attract = ReaderThread(lambda: self._openers.attract((width, height)), self._changed)
        elif self._attract is not None and self._attract.over:
            why = f"the attract loop has failed: {self._attract.error or 'it has ended'}"
            level = logging.DEBUG if why == self._attract_reason else logging.WARNING
            log_event(log, level, "attract_loop_failed", "%(reason)s", reason=why)
            self._attract_reason = why
            attract = self._openers.attract
            height, width = self._last.image.shape[:2]
            delay_s = self._timeouts.longest_pause_s
            self._attract = ReaderThread(lambda: attract((width, height)), self._changed, delay_s=delay_s)

    def _next_reader(self, why: str, now: float) -> None:
        """Leave this reader to itself and begin the pause before the next one."""
        self._reader.end()
        if self._reader.alive:
            self._hung_readers.append(self._reader)
        leaving, last_seen = self._reader.thread, self._reader.last_seen
        self._note_loss(why, now)
        open_, probe = self._opener_after(leaving), self._openers.probe
        self._reopen.failed(now)
        pause_s = self._reopen.wait(now)
        self._reader = ReaderThread(open_, self._changed, delay_s=pause_s, probe=probe, last_seen=last_seen)
        self._frozen_limit_s = min(4 * self._frozen_after_s, 2 * self._frozen_limit_s)
        self._offset = None

    def _opener_after(self, leaving: threading.Thread) -> Callable[[], Source]:
        """Return what opens the device once its last reader's thread is out of it, or has had the time to be."""

        def opened() -> Source:
            leaving.join(self._timeouts.open_s / 4)
            return self._openers.live()

        return opened

    def _note_loss(self, why: str, now: float) -> None:
        level = logging.DEBUG if why == self._reason else logging.WARNING
        log_event(log, level, "source_lost", "%(reason)s; looking for it", source=self.name, reason=why)
        self._reason = why
        if self._away_since is None:
            self._away_since = now
            self.losses += self._seen

    def _note_return(self, now: float) -> None:
        if self._away_since is not None:
            away = now - self._away_since
            self.name = self._reader.name or self.name
            fields: dict[str, Any] = {"source": self.name, "away_s": round(away, 3)}
            if self._seen:
                log_event(log, logging.INFO, "source_back", "%(source)s is back after %(away_s).1f s", **fields)
            else:
                log_event(log, logging.INFO, "source_found", "%(source)s was found after %(away_s).1f s", **fields)
            self._total_away_s += away if self._seen else 0.0
            self._away_since = None
        self._reason = ""
        self._reopen.reset()
        self._frozen_limit_s = self._frozen_after_s
        self.fps = self._reader.fps
        if self._attract is not None:
            self._attract.end()
            self._attract = None

    def _end(self) -> None:
        readers = [self._reader, *([self._attract] if self._attract else []), *self._hung_readers]
        for reader in readers:
            reader.end()
        until = time.monotonic() + 1.0  # a thread that hangs in its driver is a daemon, and ends with the program
        for reader in readers:
            reader.thread.join(max(0.0, until - time.monotonic()))


def fitted(image: Image, canvas: Image) -> Image:
    """Scale `image` into `canvas` as large as it fits, between black bars, and return `canvas`."""
    (height, width), (canvas_height, canvas_width) = image.shape[:2], canvas.shape[:2]
    x, y, inner_width, inner_height = letterbox((width, height), (canvas_width, canvas_height))
    canvas.fill(0)
    inner = canvas[y : y + inner_height, x : x + inner_width]
    interpolation = cv2.INTER_AREA if inner_width < width else cv2.INTER_LINEAR
    cv2.resize(image, (inner_width, inner_height), dst=inner, interpolation=interpolation)
    return canvas
