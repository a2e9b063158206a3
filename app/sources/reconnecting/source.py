"""A camera or stream that may go away and come back, as one source without an end.

While it is away the last picture is given again, and after a while the attract loop; both are marked by their origin.
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
from app.sources.reconnecting.hotplug import Look, nothing
from app.sources.reconnecting.reader_thread import ReaderThread, fingerprint
from engines.base import Image
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

PAUSES = (0.5, 5.0)
"""Seconds between two openings: the first pause, doubled each time up to the second."""
OPENING = 20.0
"""Seconds a source may take to open before another opening is tried beside it."""
STRAYS = 3
"""Readers that hang in a driver, at most; no more openings until one of them comes back."""
HELD_FPS = 10.0
STEADY = 3
"""Pictures of a new size in a row before it is believed: each change costs an engine."""


class SourceOpeners(NamedTuple):
    """How to get at what is shown."""

    live: Callable[[], Source]
    """Opens the camera or stream; raises SourceError."""
    attract: Callable[[tuple[int, int]], Source]
    """Opens the attract loop for a picture of that size (width, height); another size is fitted in."""
    look: Look = nothing
    """app.sources.reconnecting.hotplug."""


class RefCountedFrame:
    """A picture's memory in several hands: given back when the last lets go."""

    def __init__(self, frame: Frame) -> None:
        self._frame, self._hands, self._lock = frame, 0, threading.Lock()
        self.image, self.decode = frame.image, frame.decode

    def hold(self) -> None:
        with self._lock:
            self._hands += 1

    def let_go(self, _image: Image | None = None) -> None:
        with self._lock:
            self._hands -= 1
            last = self._hands == 0
        if last:
            self._frame.release()


class ReconnectingSource:
    """Live and paced. Iterated once; close() from anywhere. The reading is done by Reader threads."""

    live = True
    paced = True
    camera = True

    def __init__(
        self,
        ways: SourceOpeners,
        *,
        name: str,
        size: tuple[int, int] | None = None,
        attract_after: float = 20.0,
        frozen_after: float = 2.0,
    ) -> None:
        """`size` (width, height) until the first picture tells. Times in seconds without a new picture."""
        self.name, self.fps = name, 0.0
        self._ways, self._attract_after, self._frozen_after = ways, attract_after, frozen_after
        self._changed = threading.Condition()
        self._life = CloseGuard(lambda: None)
        self._reader = ReaderThread(ways.live, self._changed)
        self._attract: ReaderThread | None = None
        self._strays: list[ReaderThread] = []
        self._pause, self._patience = PAUSES[0], frozen_after
        self._print: int | None = None
        self._fresh_at = time.monotonic()
        self._away_since: float | None = None
        self._told = self._attract_told = ""
        self._buffers = FramePool()
        width, height = size or (640, 360)
        blank: Image = np.zeros((height, width, 3), np.uint8)
        self._last = RefCountedFrame(Frame(blank, 0, 0, 0))
        self._last.hold()
        self._new_size: tuple[int, ...] = blank.shape
        self._new_count = 0
        self._seen = False
        self._began = time.monotonic()
        self._offset: float | None = None
        self._position = 0.0
        self.losses, self._away = 0, 0.0

    @property
    def problem(self) -> str:
        """Why there is no live picture just now; else empty."""
        return self._told if self._away_since is not None else ""

    def facts(self) -> dict[str, Any]:
        """For --stats: how often the source has been away, and for how many seconds in all."""
        away = self._away + (time.monotonic() - self._away_since if self._away_since is not None else 0.0)
        return {"losses": self.losses, "seconds_away": round(away, 3)}

    def __iter__(self) -> Iterator[Frame]:
        index, shown_at = 0, 0.0
        with self._life as ended:
            while not ended.is_set():
                frame = self._next(shown_at)
                if frame is None:
                    continue
                frame.index, index, shown_at = index, index + 1, time.monotonic()
                yield frame
        self._end()

    def close(self) -> None:
        self._life.close()
        with self._changed:
            self._changed.notify_all()

    def _next(self, shown_at: float) -> Frame | None:
        """The next frame that is due; None when it is time to look around again."""
        due = shown_at + 1 / HELD_FPS - time.monotonic()
        with self._changed:
            self._changed.wait_for(self._something, max(0.01, due) if self._away_since is not None else 0.1)
            taken = self._reader.take()
            attract = self._attract.take() if self._attract is not None else None
        now = time.monotonic()
        if taken is not None and (frame := self._live(taken, now)) is not None:
            if attract is not None:
                attract.release()
            return frame
        self._watch(now)
        if self._away_since is None:
            return None
        if attract is not None:
            return self._stand_in(attract, now)
        return self._held(now) if now - shown_at >= 0.9 / HELD_FPS else None

    def _something(self) -> bool:
        return (
            self._life.ended.is_set()
            or self._reader.waiting
            or (self._attract is not None and self._attract.waiting and not self._attract.over)
        )

    def _live(self, frame: Frame, now: float) -> Frame | None:
        """A picture of the reader as a frame of ours; None, and released, if it is nothing new."""
        mark = fingerprint(frame)
        if mark == self._print:
            frame.release()
            return None
        self._print, self._fresh_at = mark, now
        if not self._believed(frame.image.shape):
            frame.release()
            return None
        self._back(now)
        offset = self._offset
        if offset is None:
            offset = self._offset = max(self._position, frame.captured - self._began) - frame.position
        self._keep(RefCountedFrame(frame))
        return self._frame(self._last, frame.captured, frame.position + offset, Origin.LIVE)

    def _believed(self, shape: tuple[int, ...]) -> bool:
        if shape == self._last.image.shape:
            self._new_count = 0
            return True
        self._new_count = self._new_count + 1 if shape == self._new_size else 1
        self._new_size = shape
        return not self._seen or self._new_count >= STEADY

    def _keep(self, shared: RefCountedFrame) -> None:
        shared.hold()
        self._last.let_go()
        self._last, self._seen = shared, True

    def _frame(self, shared: RefCountedFrame, captured: float, position: float, origin: Origin) -> Frame:
        shared.hold()
        self._position = max(self._position, position)
        decode = shared.decode if origin is Origin.LIVE else 0.0
        return Frame(shared.image, 0, captured, self._position, decode, on_release=shared.let_go, origin=origin)

    def _held(self, now: float) -> Frame:
        return self._frame(self._last, now, now - self._began, Origin.HELD)

    def _stand_in(self, frame: Frame, now: float) -> Frame:
        """A frame of the attract loop, in the size that the engine has."""
        self._position = max(self._position, now - self._began)
        height, width = self._last.image.shape[:2]
        if frame.size == (width, height):
            frame.origin, frame.position = Origin.ATTRACT, self._position
            return frame
        image = fitted(frame.image, self._buffers.acquire(height, width))
        frame.release()
        give = self._buffers.release
        return Frame(image, 0, frame.captured, self._position, frame.decode, on_release=give, origin=Origin.ATTRACT)

    # What is done about the source.

    def _watch(self, now: float) -> None:
        """Give a reader up that has ended or brings nothing new, start the next, and the attract loop when due."""
        reader = self._reader
        self._strays = [stray for stray in self._strays if stray.alive]
        if reader.over:
            self._next_reader(str(reader.why or f"{reader.name or self.name} has ended"), now)
        elif reader.opened is not None:
            if now - max(self._fresh_at, reader.opened) > self._patience and len(self._strays) < STRAYS:
                self._next_reader(f"{reader.name} gives no new picture for {self._patience:g} s", now)
        elif reader.opening is not None and now - reader.opening > OPENING and len(self._strays) < STRAYS:
            self._next_reader(f"{self.name} has not opened within {OPENING:g} s", now)
        if self._away_since is None and now - self._fresh_at > self._frozen_after:
            self._lost("it has not opened yet" if not self._seen else "no new picture", now)
        if self._away_since is not None and self._attract is None and now - self._away_since >= self._attract_after:
            height, width = self._last.image.shape[:2]
            self._attract = ReaderThread(lambda: self._ways.attract((width, height)), self._changed)
        elif self._attract is not None and self._attract.over:
            why = f"the attract loop has failed: {self._attract.why or 'it has ended'}"
            level = logging.DEBUG if why == self._attract_told else logging.WARNING
            log_event(log, level, "attract_loop_failed", "%(reason)s", reason=why)
            self._attract_told = why
            attract = self._ways.attract
            height, width = self._last.image.shape[:2]
            self._attract = ReaderThread(lambda: attract((width, height)), self._changed, delay=PAUSES[1])

    def _next_reader(self, why: str, now: float) -> None:
        """Leave this reader to itself and begin the pause before the next."""
        self._reader.end()
        if self._reader.alive:
            self._strays.append(self._reader)
        leaving, seen = self._reader.thread, self._reader.seen
        self._lost(why, now)
        open_, look = self._open_after(leaving), self._ways.look
        self._reader = ReaderThread(open_, self._changed, delay=self._pause, look=look, seen=seen)
        self._pause, self._patience = min(PAUSES[1], 2 * self._pause), min(4 * self._frozen_after, 2 * self._patience)
        self._offset = None

    def _open_after(self, leaving: threading.Thread) -> Callable[[], Source]:
        """A device is opened once its last reader's thread has let it go, or will not."""

        def opened() -> Source:
            leaving.join(OPENING / 4)
            return self._ways.live()

        return opened

    def _lost(self, why: str, now: float) -> None:
        level = logging.DEBUG if why == self._told else logging.WARNING
        log_event(log, level, "source_lost", "%(reason)s; looking for it", source=self.name, reason=why)
        self._told = why
        if self._away_since is None:
            self._away_since = now
            self.losses += self._seen

    def _back(self, now: float) -> None:
        if self._away_since is not None:
            away = now - self._away_since
            self.name = self._reader.name or self.name
            event, message = ("source_back", "is back after") if self._seen else ("source_found", "is there after")
            message = f"%(source)s {message} %(away_s).1f s"
            log_event(log, logging.INFO, event, message, source=self.name, away_s=round(away, 3))
            self._away += away if self._seen else 0.0
            self._away_since = None
        self._told = ""
        self._pause, self._patience = PAUSES[0], self._frozen_after
        self.fps = self._reader.fps
        if self._attract is not None:
            self._attract.end()
            self._attract = None

    def _end(self) -> None:
        readers = [self._reader, *([self._attract] if self._attract else []), *self._strays]
        for reader in readers:
            reader.end()
        until = time.monotonic() + 1.0  # one that hangs in its driver is a daemon, and ends with the program
        for reader in readers:
            reader.thread.join(max(0.0, until - time.monotonic()))


def fitted(image: Image, canvas: Image) -> Image:
    """`image` scaled into `canvas` as large as it goes, between black bars. Returns `canvas`."""
    (height, width), (canvas_height, canvas_width) = image.shape[:2], canvas.shape[:2]
    x, y, inner_width, inner_height = letterbox((width, height), (canvas_width, canvas_height))
    canvas.fill(0)
    inner = canvas[y : y + inner_height, x : x + inner_width]
    interpolation = cv2.INTER_AREA if inner_width < width else cv2.INTER_LINEAR
    cv2.resize(image, (inner_width, inner_height), dst=inner, interpolation=interpolation)
    return canvas
