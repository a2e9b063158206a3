"""A recording for days, in segments named by wall clock, within a quota, that outlives full and pulled disks.

The main thread only hands pictures on. Files are opened, named, flushed to disk, closed and deleted by the maintenance
thread, so that a dying card holds up no live picture. A film's picture waits, so that none is lost.
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
from app.sinks.recording.next_segment import SUFFIX, NextSegment, SegmentTimeouts
from app.sinks.recording.recorder import Recorder
from app.sinks.recording.retention import RetentionPolicy
from engines.support.event_log import log_event

log = logging.getLogger(__name__)


class SegmentedRecorder:
    """Records every live picture into `settings.folder`. A failure is logged and tried again, never raised.

    A segment is hidden until its first pictures are on disk, and then plays by itself at any moment. Programs may share
    a folder: each leaves alone what another one writes.
    """

    def __init__(
        self, settings: RecordingConfig, *, fps: float, lossless: bool, timeouts: SegmentTimeouts | None = None
    ) -> None:
        """Start the maintenance thread. `fps`: the source's nominal rate, 0 if unknown.

        `lossless`: this is a film, of which no picture may be lost, and whose segments end by its own time.
        """
        self._settings, self._lossless = settings, lossless
        self._timeouts = timeouts or SegmentTimeouts()
        self._next = NextSegment(settings, fps=fps, lossless=lossless, timeouts=timeouts)

        self._changing = threading.Lock()  # never held while a disk is touched
        self._current: Recorder | None = None  # guarded by _changing; read without, as one reference
        self._began = 0.0  # main thread; when the current segment began, by _lossless' clock
        self._missed = 0  # main thread
        self._final_names: dict[Path, Path] = {}  # main thread adds, maintenance thread removes, one key each
        # (frames, when) of the last sign of life: the main thread sets it for a new segment, the maintenance thread
        # for the current one. A value that one of them overwrites costs no more than another round.
        self._alive = (0, 0.0)

        # From the main thread to the maintenance thread, and when to look at them.
        self._old: queue.SimpleQueue[Recorder] = queue.SimpleQueue()
        self._failed: queue.SimpleQueue[tuple[Recorder, SinkError]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._ending = threading.Event()

        # Maintenance thread; the main thread reads `problem`, `segments`, `_full`, `_lost` and `_totals`.
        self._full: Recorder | None = None  # the last that has reached its size
        self._hung: list[Recorder] = []
        self._retention = RetentionPolicy(settings.folder, settings.quota_gb)
        self._synced = 0.0
        self.problem = ""
        """Why nothing is recorded just now; else empty."""
        self._last_error = SinkError("", "its file was not open yet", "Let it run for longer.")
        self.segments = self._lost = 0
        self._totals = {"frames": 0, "seconds": 0.0, "dropped": 0}

        self._thread = threading.Thread(target=self._work, name="segments", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether it records now. Main thread only."""
        return self._current is not None

    def facts(self) -> dict[str, Any]:
        """Return the figures for --stats.

        `missed` counts pictures that came while nothing was recorded, and those that are not in the folder any more
        because somebody took the file away while it was being written.
        """
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
        """Raise SinkError if pictures came and none of them was kept. Call it after close()."""
        facts = self.facts()
        if facts["missed"] and not facts["frames"]:
            problem = f"Nothing was recorded in {self._settings.folder}"
            raise SinkError(problem, f"{facts['missed']} pictures came; {self._last_error.facts}", self._last_error.fix)

    def write(self, frame: OutputFrame) -> None:
        """Queue a copy, unless a kiosk shows it in place of its camera. Never raises; waits only if lossless."""
        if frame.input.origin is not Origin.LIVE:
            return
        # A film's own time: it may be played faster or slower.
        now = frame.input.position if self._lossless else time.monotonic()
        if self._current is None or self._due(now):
            self._rotate(now)
        recorder = self._current
        if recorder is None:
            self._missed += 1
            return
        try:
            recorder.write(frame)
        except SinkError as error:
            self._missed += 1
            if self._give_up(recorder):  # else the maintenance thread has, while this picture waited
                self._failed.put((recorder, error))
                self._wake.set()

    def close(self) -> None:
        """Finish the segment. Waits for a disk that hangs little longer than a Recorder does. Idempotent."""
        if self._ending.is_set():
            return
        if (current := self._current) is not None and self._give_up(current):
            self._old.put(current)
        self._ending.set()
        self._wake.set()
        self._thread.join(self._timeouts.close_s)
        if self._thread.is_alive():
            message = "the recording in %(path)s could not be finished in time; what was written can be played"
            log_event(log, logging.WARNING, "recording_unfinished", message, path=self._settings.folder)
        elif self.segments:
            facts = self.facts() | {"files": "1 file" if self.segments == 1 else f"{self.segments} files"}
            message = "recorded %(frames)d frames, %(seconds).1f s, in %(files)s in %(path)s"
            log_event(log, logging.INFO, "segments_finished", message, **facts)

    # Main thread.

    def _due(self, now: float) -> bool:
        limit = self._settings.segment
        return self._full is self._current or (limit is not None and now - self._began >= limit)

    def _rotate(self, now: float) -> None:
        """Begin the next segment with this picture, if its file is open."""
        if (following := self._next.take()) is not None:
            self._final_names[following.path] = self._settings.folder / f"{datetime.now():%Y%m%d-%H%M%S}{SUFFIX}"
            self._began, self._alive = now, (0, time.monotonic())
            with self._changing:
                before, self._current = self._current, following
            if before is not None:
                self._old.put(before)
            self._wake.set()

    def _give_up(self, recorder: Recorder) -> bool:
        """Take `recorder` out of use; True if it was the current one until now, and the caller has to finish it."""
        with self._changing:
            given_up = self._current is recorder
            if given_up:
                self._current = None
        return given_up

    # Maintenance thread.

    def _work(self) -> None:
        while not self._ending.is_set():
            self._round()
            self._wake.wait(self._timeouts.round_s)
            self._wake.clear()
        self._round()
        self._finish_old()
        self._next.close()

    def _round(self) -> None:
        """Do everything that touches the disk, once. What goes wrong is tried again and holds up nothing else."""
        steps = self._discard_failed, self._prepare, self._finish_old, self._watch, self._resume_hung, self._keep_quota
        for step in steps:
            try:
                step()
            except SinkError as error:
                self._stop(error)
            except Exception as error:  # mostly the system's; none of any kind may end this thread
                log.debug("recording: the maintenance thread continues after this", exc_info=error)
                self._stop(SinkError(f"Cannot record to {self._settings.folder}", reason(error)))

    def _discard_failed(self) -> None:
        while not self._failed.empty():
            recorder, error = self._failed.get()
            self._stop(error)
            self._finish(recorder)

    def _prepare(self) -> None:
        if not self._ending.is_set():
            self._next.prepare()

    def _finish_old(self) -> None:
        """Finish the segments that are over. Comes before _watch(), which names newer ones."""
        while not self._old.empty():
            self._finish(self._old.get())

    def _stop(self, error: SinkError) -> None:
        self._last_error = error
        self._next.postpone()
        self._report("recording_failed", "recording has stopped", error)

    def _report(self, event: str, what: str, error: SinkError) -> None:
        # Once for each outage; the file's name in the message changes each time.
        if not self.problem:
            message = f"{what}; everything else continues\n  %(reason)s"
            log_event(log, logging.WARNING, event, message, reason=str(error), **extent(error))
        self.problem = error.reason if isinstance(error, RecordingError) else error.facts or error.problem

    def _watch(self) -> None:
        """Look after the segment that is being written. If its file is gone, the next picture begins another."""
        recorder = self._current
        if recorder is None:
            return
        try:
            if not recorder.gone:
                self._inspect(recorder, time.monotonic())
            elif self._give_up(recorder):
                self._old.put(recorder)
        except OSError as error:  # it may be written all the same: the next segment is not postponed
            problem = SinkError(f"Cannot record to {recorder.path}", reason(error))
            self._report("recording_at_risk", "the recording is at risk", problem)

    def _inspect(self, recorder: Recorder, now: float) -> None:
        """Name the segment once it plays, flush it, and see whether it is full or hangs."""
        path = self._name(recorder)
        limit = self._settings.segment_mb
        if limit is not None and path.exists() and path.stat().st_size >= limit * 1e6:
            self._full = recorder
        if now - self._synced >= self._timeouts.sync_s and path.exists():
            self._synced = now
            flush(path)
        if recorder.frames != self._alive[0] or not recorder.behind:
            self._alive = (recorder.frames, now)
        elif now - self._alive[1] > self._timeouts.hang_s and self._give_up(recorder):
            self._hung.append(recorder)
            self._stop(SinkError("The recording hangs", f"no picture has been written for {self._timeouts.hang_s:g} s"))

    def _name(self, recorder: Recorder) -> Path:
        """Give the file its final name as soon as it plays, and return the name it has."""
        wanted = self._final_names.get(recorder.path)
        if wanted is not None and playable(recorder.path):
            hidden = recorder.path
            recorder.rename(wanted)
            del self._final_names[hidden]
            self.segments += 1
            log_event(log, logging.DEBUG, "segment_started", "recording to %(path)s", path=recorder.path)
            self._retention.add(recorder.path)
            if self.problem:
                log_event(log, logging.WARNING, "recording_resumed", "recording again, to %(path)s", path=recorder.path)
                self.problem = ""
        return recorder.path

    def _finish(self, recorder: Recorder) -> None:
        """Close a segment. What is in it plays, whatever has happened to it."""
        whole = False
        try:
            whole = recorder.finish()
        except SinkError as error:
            self._stop(error)
        finally:
            gone = nameless = False
            with contextlib.suppress(OSError):
                gone = recorder.gone
                nameless = not gone and self._name(recorder) in self._final_names
            if gone or nameless:
                self._drop(recorder, gone=gone)
            else:
                self._totals = self._with(recorder)
                if whole:
                    recorder.log_result()
            # PyAV's containers and streams refer to one another, and keep an encoder's many megabytes.
            gc.collect()

    def _resume_hung(self) -> None:
        for recorder in [hung for hung in self._hung if not hung.behind]:  # the disk works again
            self._hung.remove(recorder)
            with contextlib.suppress(SinkError):  # reported already
                recorder.finish()
            self._finish(recorder)

    def _keep_quota(self) -> None:
        self._retention.keep(self._current.path if self._current is not None else None)

    def _drop(self, recorder: Recorder, *, gone: bool) -> None:
        """Stop counting a segment that somebody has taken away, or of which no picture has reached the disk."""
        self._lost += recorder.frames + recorder.dropped
        if self._final_names.pop(recorder.path, None) is None:
            self.segments -= 1
        if not gone:
            recorder.discard()
        elif recorder.frames:  # else it has failed before the first, which is reported
            facts = f"{recorder.path} was deleted or moved while it was being written"
            message = "%(path)s was deleted or moved while it was being written; its %(frames)d frames do not count"
            log_event(log, logging.WARNING, "recording_lost", message, path=recorder.path, frames=recorder.frames)
            self._last_error = SinkError(
                "", facts, "Leave the newest file alone, or take its folder away after the end."
            )

    def _with(self, recorder: Recorder) -> dict[str, float]:
        """Return the totals with what is in this segment."""
        facts = recorder.facts()
        return {key: value + facts[key] for key, value in self._totals.items()}
