"""Archive: a recording for days, in segments named by wall clock, within a quota, that outlives full and pulled disks.

The main thread only hands pictures on. Files are opened, named, flushed to disk, closed and deleted by a thread of the
archive's own, the archivist, so that a dying card holds up no picture.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import queue
import re
import shutil
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from app.config import Recording as Settings
from app.frame import Origin, Picture
from app.sinks import SinkError
from app.sinks.recorder import Recorder, reason
from app.sinks.recording import unused

log = logging.getLogger(__name__)

SUFFIX = ".mp4"
SEGMENT = re.compile(r"\d{8}-\d{6}(-\d+)?\.(mp4|mkv)")
PART = re.compile(r"\.livesr-(\d+)-\d+\.part\.(mp4|mkv)")
TURN = 0.2
"""Seconds between two rounds of the archivist."""
SYNC = 0.5
"""Seconds between two flushes to disk: with the half second that a muxer holds back, power loss costs one second."""
RETRY = 2.0
"""Seconds between two tries to go on after a failure."""
STALLED = 10.0
"""Seconds without a picture encoded after which a recorder counts as hung."""


class Archive:
    """Records every live picture into `settings.folder`. A failure stops it, is told, and is tried again; never raised.

    A segment is hidden until its first pictures are on disk, and then plays by itself at any moment.
    """

    stage = "sink"

    def __init__(self, settings: Settings, *, fps: float) -> None:
        self._settings, self._fps = settings, fps
        self._current: Recorder | None = None
        self._next: Recorder | None = None
        self._began = 0.0
        self._full = False
        self._old: queue.SimpleQueue[Recorder] = queue.SimpleQueue()
        self._failed: queue.SimpleQueue[tuple[Recorder, SinkError]] = queue.SimpleQueue()
        self._hung: list[Recorder] = []
        self._named: dict[Path, Path] = {}
        self._order: dict[Path, int] = {}  # of our own segments: the clock may have jumped back between two
        self._count = 0
        self._synced = self._retry = 0.0
        self._alive = (0, 0.0)
        self._ending = threading.Event()
        self._wake = threading.Event()
        self.problem = ""
        """Why nothing is recorded just now; else empty."""
        self.segments = self.missed = 0
        self._totals = {"frames": 0, "seconds": 0.0, "dropped": 0}
        self._thread = threading.Thread(target=self._work, name="archivist", daemon=True)
        self._thread.start()

    def facts(self) -> dict[str, Any]:
        """For --stats. `missed`: pictures that came while the recording was stopped."""
        current = self._current
        totals = self._totals if current is None else self._with(current)
        return {
            "path": str(self._settings.folder),
            **totals,
            "seconds": round(totals["seconds"], 3),
            "segments": self.segments,
            "missed": self.missed,
        }

    def write(self, picture: Picture) -> None:
        """Never waits, never raises. What a kiosk shows in place of its camera is not recorded."""
        if picture.frame.origin is not Origin.LIVE:
            return
        if self._current is None or self._due():
            self._turn_over()
        recorder = self._current
        if recorder is None:
            self.missed += 1
            return
        try:
            recorder.write(picture)
        except SinkError as error:
            self._current = None
            self.missed += 1
            self._failed.put((recorder, error))
            self._wake.set()

    def idle(self) -> None:
        pass

    def close(self) -> None:
        """Finish the segment. Waits for a disk that hangs no longer than a Recorder does. Idempotent."""
        if self._ending.is_set():
            return
        current, self._current = self._current, None
        if current is not None:
            self._old.put(current)
        self._ending.set()
        self._wake.set()
        self._thread.join(25.0)
        if self._thread.is_alive():
            log.warning(
                "the recording in %s could not be finished in time; it plays up to there", self._settings.folder
            )
        elif self.segments:
            told = self.facts() | {"files": "1 file" if self.segments == 1 else f"{self.segments} files"}
            log.info("recorded %(frames)d frames, %(seconds).1f s, in %(files)s in %(path)s", told)

    # Main thread.

    def _due(self) -> bool:
        limit = self._settings.segment
        return self._full or (limit is not None and time.monotonic() - self._began >= limit)

    def _turn_over(self) -> None:
        """The next segment begins with this picture, if the archivist has one ready."""
        if self._next is not None:
            if self._current is not None:
                self._old.put(self._current)
            self._current, self._next = self._next, None
            self._began, self._full = time.monotonic(), False
            self._alive = (0, self._began)
            self._named[self._current.path] = self._settings.folder / f"{datetime.now():%Y%m%d-%H%M%S}{SUFFIX}"
            self._wake.set()

    # The archivist.

    def _work(self) -> None:
        while not self._ending.is_set():
            self._round()
            self._wake.wait(TURN)
            self._wake.clear()
        self._round()
        while not self._old.empty():
            self._finish(self._old.get())
        if self._next is not None:
            self._discard(self._next)

    def _round(self) -> None:
        """Everything that touches the disk, once. Whatever goes wrong with it is told and tried again."""
        now = time.monotonic()
        try:
            while not self._failed.empty():
                recorder, error = self._failed.get()
                self._stop(error)
                self._finish(recorder)
            if not self._ending.is_set() and self._next is None and now >= self._retry:
                self._prepare()
            current = self._current
            if current is not None:
                self._watch(current, now)
            for recorder in [one for one in self._hung if not one.behind]:  # its disk goes on again
                self._hung.remove(recorder)
                with contextlib.suppress(SinkError):  # told already
                    recorder.finish()
                self._finish(recorder)
            while not self._old.empty():
                self._finish(self._old.get())
            self._keep_quota()
        except SinkError as error:
            self._stop(error)
        except OSError as error:
            self._stop(SinkError(f"Cannot record to {self._settings.folder}", reason(error)))

    def _stop(self, error: SinkError) -> None:
        self._retry = time.monotonic() + RETRY
        # The same failure again is no news; the file's name in it changes each time.
        if not self.problem:
            log.warning("recording has stopped; the picture goes on\n  %s", error)
        self.problem = error.facts.partition(";")[0] or error.problem

    def _prepare(self) -> None:
        """Open the file of the next segment, under a hidden name."""
        folder = self._settings.folder
        folder.mkdir(parents=True, exist_ok=True)
        if not self._count:
            clean(folder)
        free = shutil.disk_usage(folder).free
        if free < self._settings.reserve_mb * 1e6:
            raise SinkError("The disk is full", f"{free / 1e6:.0f} MB are free in {folder}", "Make room.")
        self._count += 1
        path = folder / f".livesr-{os.getpid()}-{self._count}.part{SUFFIX}"
        options = self._settings
        self._next = Recorder(path, encoder=options.encoder, quality=options.quality, fps=self._fps, lossless=False)

    def _watch(self, recorder: Recorder, now: float) -> None:
        """Name the segment once it plays, flush it, see whether it is full or hangs."""
        path = self._name(recorder)
        limit = self._settings.segment_mb
        if limit is not None and path.exists() and path.stat().st_size >= limit * 1e6:
            self._full = True
        if now - self._synced >= SYNC and path.exists():
            self._synced = now
            flush(path)
        if recorder.frames != self._alive[0] or not recorder.behind:
            self._alive = (recorder.frames, now)
        elif now - self._alive[1] > STALLED:
            self._current = None
            self._hung.append(recorder)
            self._stop(SinkError("The recording hangs", f"no picture has been written for {STALLED:g} s"))

    def _name(self, recorder: Recorder) -> Path:
        """Where its file is now: under its own name from the moment it plays."""
        wanted = self._named.get(recorder.path)
        if wanted is not None and playable(recorder.path):
            wanted = unused(wanted)
            recorder.path.rename(wanted)
            del self._named[recorder.path]
            recorder.path = wanted
            self.segments += 1
            self._order[wanted] = self.segments
            if self.problem:
                log.warning("recording again, to %s", wanted)
                self.problem = ""
        return recorder.path

    def _finish(self, recorder: Recorder) -> None:
        """Close a segment; what is in it plays, whatever happened to it."""
        whole = False
        try:
            whole = recorder.finish()
        except SinkError as error:
            self._stop(error)
        finally:
            with contextlib.suppress(OSError):
                if self._name(recorder) in self._named:
                    self._discard(recorder)
                elif whole:
                    recorder.tell()
            self._totals = self._with(recorder)
            # PyAV's containers and streams refer to one another, with an encoder's many megabytes behind them.
            gc.collect()

    def _with(self, recorder: Recorder) -> dict[str, float]:
        """The totals, and what is in this segment."""
        facts = recorder.facts()
        return {key: value + facts[key] for key, value in self._totals.items()}

    def _discard(self, recorder: Recorder) -> None:
        self._named.pop(recorder.path, None)
        with contextlib.suppress(SinkError):
            recorder.finish()
        with contextlib.suppress(OSError):
            recorder.path.unlink(missing_ok=True)

    def _keep_quota(self) -> None:
        """Delete the oldest segments, but never the one being written, until the folder is within its quota."""
        if self._settings.quota_gb is None or not self._settings.folder.is_dir():
            return
        found = sorted(
            (self._order.get(path, 0), path.stat().st_mtime, path.stat().st_size, path)
            for path in self._settings.folder.iterdir()
            if SEGMENT.fullmatch(path.name)
        )
        self._order = {path: order for order, _, _, path in found if order}
        total = sum(size for *_, size, _ in found)
        current = self._current
        for *_, size, path in found:
            if total <= self._settings.quota_gb * 1e9:
                return
            if current is None or path != current.path:
                path.unlink(missing_ok=True)
                total -= size
                log.debug("deleted %s, the oldest, to stay within the quota", path)


def playable(path: Path) -> bool:
    """Whether the first fragment (MP4) or cluster (Matroska) has reached the file."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        head = file.read(8192)
        at = max(head.find(b"moof"), head.find(b"\x1f\x43\xb6\x75"))
        # The box is written first and its pictures after it: it is whole once the next one has begun, or all is there.
        return at >= 0 and path.stat().st_size > at + 1024
    return False


def flush(path: Path) -> None:
    """Through the system's cache to the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(file)
    finally:
        os.close(file)


def clean(folder: Path) -> None:
    """Remove what runs that were killed had not yet made a segment of: less than a second each."""
    for path in folder.iterdir():
        match = PART.fullmatch(path.name)
        if match and not Path("/proc", match[1]).exists():
            path.unlink(missing_ok=True)
