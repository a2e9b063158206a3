"""The recorder of an archive's next segment, whose file is open before the segment begins."""

from __future__ import annotations

import secrets
import shutil
import threading
import time

from app.config.schema import RecordingConfig
from app.errors import SinkError
from app.sinks.recording.recorder import Recorder
from app.sinks.recording.retention import clean

SUFFIX = ".mp4"
RETRY = 2.0
"""Seconds between two tries to go on after a failure."""
PATIENCE = 10.0
"""Seconds that a film's picture waits for a file to be open; then it does without until there is one."""


class NextSegment:
    """One is made by the archivist, under a hidden name, as soon as the main thread has taken the last."""

    def __init__(self, settings: RecordingConfig, *, fps: float, lossless: bool) -> None:
        """`lossless`: whoever takes one waits until it is there."""
        self._settings, self._fps, self._lossless = settings, fps, lossless
        self._recorder: Recorder | None = None
        self._mark, self._count = secrets.token_hex(4), 0  # no process id: every container has a process 1
        self._retry = 0.0
        self._ready = threading.Event()  # it is there, or not to be waited for
        self._taking = threading.Lock()  # never held while a disk is touched

    def take(self) -> Recorder | None:
        """For the main thread, which closes it; None if there is none yet."""
        if self._lossless and not self._ready.wait(PATIENCE):
            self._ready.set()  # a disk that hangs is waited for once
        return self._taken()

    def prepare(self) -> None:
        """Open one, unless there is one. Raises SinkError and OSError; then put_off() is due."""
        if (recorder := self._recorder) is not None and recorder.gone and self._taken() is not None:
            recorder.discard()
        if self._recorder is not None or time.monotonic() < self._retry:
            return
        options, folder = self._settings, self._settings.folder
        folder.mkdir(parents=True, exist_ok=True)
        if not self._count:
            clean(folder)
        free = shutil.disk_usage(folder).free
        if free < options.reserve_mb * 1e6:
            raise SinkError("The disk is full", f"{free / 1e6:.0f} MB are free in {folder}", "Make room.")
        self._count += 1
        path = folder / f".livesr-{self._mark}-{self._count}.part{SUFFIX}"
        recorder = Recorder(
            path, encoder=options.encoder, quality=options.quality, fps=self._fps, lossless=self._lossless
        )
        with self._taking:  # else one that is taken at once leaves behind that there is one
            self._recorder = recorder
            self._ready.set()

    def put_off(self) -> None:
        """After a failure: none is opened for a while, and none waited for."""
        self._retry = time.monotonic() + RETRY
        self._ready.set()

    def close(self) -> None:
        """Nobody has needed it."""
        if (recorder := self._taken()) is not None:
            recorder.discard()

    def _taken(self) -> Recorder | None:
        with self._taking:
            if self._recorder is not None:
                self._ready.clear()
            recorder, self._recorder = self._recorder, None
        return recorder
