"""A recording for days, in segments named by wall clock, within a quota, that outlives full and pulled disks.

The main thread only hands pictures on. Files are opened, named, flushed to disk, closed and deleted by a thread of the
archive's own, the archivist, so that a dying card holds up no live picture. A film's waits, so that none is lost.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import queue
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from app.config.schema import RecordingConfig
from app.errors import RecordingError, SinkError, extent
from app.ffmpeg import reason
from app.pipeline.frame import Origin, OutputFrame
from app.sinks.recording.fragment_file import flush, playable
from app.sinks.recording.next_segment import SUFFIX, NextSegment
from app.sinks.recording.recorder import Recorder
from app.sinks.recording.retention import RetentionPolicy
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

TURN = 0.2
"""Seconds between two rounds of the archivist."""
SYNC = 0.5
"""Seconds between two flushes to disk: with the half second that a muxer holds back, power loss costs one second."""
STALLED = 10.0
"""Seconds without a picture encoded after which a recorder counts as hung."""


class SegmentedRecorder:
    """Records every live picture into `settings.folder`. A failure stops it, is told, and is tried again; never raised.

    A segment is hidden until its first pictures are on disk, and then plays by itself at any moment. Programs may share
    a folder: each leaves alone what another one writes.
    """

    def __init__(self, settings: RecordingConfig, *, fps: float, lossless: bool) -> None:
        """`lossless`: a film, of which no picture may be lost; its segments end by its own time."""
        self._settings, self._lossless = settings, lossless
        self._spare = NextSegment(settings, fps=fps, lossless=lossless)
        self._current: Recorder | None = None
        self._changing = threading.Lock()  # of what is current, by either thread; never held while a disk is touched
        self._began = 0.0
        self._full: Recorder | None = None  # the last that has reached its size
        self._old: queue.SimpleQueue[Recorder] = queue.SimpleQueue()
        self._failed: queue.SimpleQueue[tuple[Recorder, SinkError]] = queue.SimpleQueue()
        self._hung: list[Recorder] = []
        self._named: dict[Path, Path] = {}
        self._quota = RetentionPolicy(settings.folder, settings.quota_gb)
        self._synced = 0.0
        self._alive = (0, 0.0)
        self._ending = threading.Event()
        self._wake = threading.Event()
        self.problem = ""
        """Why nothing is recorded just now; else empty."""
        self._last = SinkError("", "its file was not open yet", "Let it run for longer.")
        self.segments = self._missed = self._lost = 0
        self._totals = {"frames": 0, "seconds": 0.0, "dropped": 0}
        self._thread = threading.Thread(target=self._work, name="archivist", daemon=True)
        self._thread.start()

    def facts(self) -> dict[str, Any]:
        """For --stats. `missed`: pictures that came while nothing was recorded, or that are not in the folder any more
        because somebody took away the file while it was being written."""
        current = self._current
        totals = self._totals if current is None else self._with(current)
        return {
            "path": str(self._settings.folder),
            **totals,
            "seconds": round(totals["seconds"], 3),
            "segments": self.segments,
            "missed": self._missed + self._lost,
        }

    def raise_if_nothing_recorded(self) -> None:
        """After close(): raise SinkError if pictures came and none of them was kept."""
        facts = self.facts()
        if facts["missed"] and not facts["frames"]:
            problem = f"Nothing was recorded in {self._settings.folder}"
            raise SinkError(problem, f"{facts['missed']} pictures came; {self._last.facts}", self._last.fix)

    def write(self, frame: OutputFrame) -> None:
        """Never raises, and waits only if lossless. What a kiosk shows in place of its camera is not recorded."""
        if frame.input.origin is not Origin.LIVE:
            return
        # A film's own time: it may be played faster or slower.
        now = frame.input.position if self._lossless else time.monotonic()
        if self._current is None or self._due(now):
            self._turn_over(now)
        recorder = self._current
        if recorder is None:
            self._missed += 1
            return
        try:
            recorder.write(frame)
        except SinkError as error:
            self._missed += 1
            if self._given_up(recorder):  # else the archivist has, while this picture waited
                self._failed.put((recorder, error))
                self._wake.set()

    def close(self) -> None:
        """Finish the segment. Waits for a disk that hangs no longer than a Recorder does. Idempotent."""
        if self._ending.is_set():
            return
        if (current := self._current) is not None and self._given_up(current):
            self._old.put(current)
        self._ending.set()
        self._wake.set()
        self._thread.join(25.0)
        if self._thread.is_alive():
            message = "the recording in %(path)s could not be finished in time; it plays up to there"
            log_event(log, logging.WARNING, "recording_unfinished", message, path=self._settings.folder)
        elif self.segments:
            told = self.facts() | {"files": "1 file" if self.segments == 1 else f"{self.segments} files"}
            message = "recorded %(frames)d frames, %(seconds).1f s, in %(files)s in %(path)s"
            log_event(log, logging.INFO, "segments_finished", message, **told)

    # Main thread.

    def _due(self, now: float) -> bool:
        limit = self._settings.segment
        return self._full is self._current or (limit is not None and now - self._began >= limit)

    def _turn_over(self, now: float) -> None:
        """The next segment begins with this picture, if the archivist has one ready."""
        if (following := self._spare.take()) is not None:
            self._named[following.path] = self._settings.folder / f"{datetime.now():%Y%m%d-%H%M%S}{SUFFIX}"
            self._began, self._alive = now, (0, time.monotonic())
            with self._changing:
                before, self._current = self._current, following
            if before is not None:
                self._old.put(before)
            self._wake.set()

    def _given_up(self, recorder: Recorder) -> bool:
        """Whether it was the current one until now, and is none any more; whoever has it so finishes it."""
        with self._changing:
            given_up = self._current is recorder
            if given_up:
                self._current = None
        return given_up

    # The archivist.

    def _work(self) -> None:
        while not self._ending.is_set():
            self._round()
            self._wake.wait(TURN)
            self._wake.clear()
        self._round()
        self._clear_old()
        self._spare.close()

    def _round(self) -> None:
        """Everything that touches the disk, once. What goes wrong is tried again and holds up nothing else."""
        for step in (self._bury, self._prepare, self._clear_old, self._watch, self._revive, self._keep_quota):
            try:
                step()
            except SinkError as error:
                self._stop(error)
            except Exception as error:  # of the system, mostly; of no kind may one end the archivist
                log.debug("the archivist goes on after this", exc_info=error)
                self._stop(SinkError(f"Cannot record to {self._settings.folder}", reason(error)))

    def _bury(self) -> None:
        while not self._failed.empty():
            recorder, error = self._failed.get()
            self._stop(error)
            self._finish(recorder)

    def _prepare(self) -> None:
        if not self._ending.is_set():
            self._spare.prepare()

    def _clear_old(self) -> None:
        """Before _watch(), which names what is newer."""
        while not self._old.empty():
            self._finish(self._old.get())

    def _stop(self, error: SinkError) -> None:
        self._last = error
        self._spare.put_off()
        self._tell("recording_failed", "recording has stopped", error)

    def _tell(self, event: str, what: str, error: SinkError) -> None:
        # The same failure again is no news; the file's name in it changes each time.
        if not self.problem:
            message = f"{what}; the picture goes on\n  %(reason)s"
            log_event(log, logging.WARNING, event, message, reason=str(error), **extent(error))
        self.problem = error.reason if isinstance(error, RecordingError) else error.facts or error.problem

    def _watch(self) -> None:
        """Look after the segment that is being written. If it is gone, the next picture goes into the next one."""
        recorder = self._current
        if recorder is None:
            return
        try:
            if not recorder.gone:
                self._inspect(recorder, time.monotonic())
            elif self._given_up(recorder):
                self._old.put(recorder)
        except OSError as error:  # it may be written all the same, and the next one is not put off
            problem = SinkError(f"Cannot record to {recorder.path}", reason(error))
            self._tell("recording_at_risk", "the recording is at risk", problem)

    def _inspect(self, recorder: Recorder, now: float) -> None:
        """Name the segment once it plays, flush it, see whether it is full or hangs."""
        path = self._name(recorder)
        limit = self._settings.segment_mb
        if limit is not None and path.exists() and path.stat().st_size >= limit * 1e6:
            self._full = recorder
        if now - self._synced >= SYNC and path.exists():
            self._synced = now
            flush(path)
        if recorder.frames != self._alive[0] or not recorder.behind:
            self._alive = (recorder.frames, now)
        elif now - self._alive[1] > STALLED and self._given_up(recorder):
            self._hung.append(recorder)
            self._stop(SinkError("The recording hangs", f"no picture has been written for {STALLED:g} s"))

    def _name(self, recorder: Recorder) -> Path:
        """Where its file is now: under its own name from the moment it plays."""
        wanted = self._named.get(recorder.path)
        if wanted is not None and playable(recorder.path):
            hidden = recorder.path
            recorder.rename(wanted)
            del self._named[hidden]
            self.segments += 1
            log_event(log, logging.DEBUG, "segment_started", "recording to %(path)s", path=recorder.path)
            self._quota.add(recorder.path)
            if self.problem:
                log_event(log, logging.WARNING, "recording_resumed", "recording again, to %(path)s", path=recorder.path)
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
            gone = nameless = False
            with contextlib.suppress(OSError):
                gone = recorder.gone
                nameless = not gone and self._name(recorder) in self._named
            if gone or nameless:
                self._lose(recorder, gone=gone)
            else:
                self._totals = self._with(recorder)
                if whole:
                    recorder.tell()
            # PyAV's containers and streams refer to one another, with an encoder's many megabytes behind them.
            gc.collect()

    def _revive(self) -> None:
        for recorder in [one for one in self._hung if not one.behind]:  # its disk goes on again
            self._hung.remove(recorder)
            with contextlib.suppress(SinkError):  # told already
                recorder.finish()
            self._finish(recorder)

    def _keep_quota(self) -> None:
        self._quota.keep(self._current.path if self._current is not None else None)

    def _lose(self, recorder: Recorder, *, gone: bool) -> None:
        """Count a segment out: somebody has taken it away, or no picture in it has come to the disk."""
        self._lost += recorder.frames + recorder.dropped
        if self._named.pop(recorder.path, None) is None:
            self.segments -= 1
        if not gone:
            recorder.discard()
        elif recorder.frames:  # else it has failed before the first, and has told so
            told = f"{recorder.path} was deleted or moved while it was being written"
            message = "%(path)s was deleted or moved while it was being written; its %(frames)d frames do not count"
            log_event(log, logging.WARNING, "recording_lost", message, path=recorder.path, frames=recorder.frames)
            self._last = SinkError("", told, "Leave alone the newest file, or take its folder away after the end.")

    def _with(self, recorder: Recorder) -> dict[str, float]:
        """The totals, and what is in this segment."""
        facts = recorder.facts()
        return {key: value + facts[key] for key, value in self._totals.items()}
