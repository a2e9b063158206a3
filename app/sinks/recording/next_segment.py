"""The recorder of the next segment, whose file is open before the segment begins."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from dataclasses import dataclass

from app.config.schema import RecordingConfig
from app.errors import SinkError
from app.sinks.recording.recorder import ENCODER_TIMEOUT_S, Recorder
from app.sinks.recording.retention import clean
from engines.support.backoff import Backoff

SUFFIX = ".mp4"


@dataclass(frozen=True)
class SegmentTimeouts:
    """How long a SegmentedRecorder waits for what, in seconds."""

    round_s: float = 0.2
    """Between two rounds of the maintenance thread."""
    sync_s: float = 0.5
    """Between two flushes to disk: with the half second that a muxer holds back, power loss costs one second."""
    hang_s: float = 10.0
    """Without a picture encoded before a recorder counts as hung."""
    retry_s: float = 2.0
    """Between two attempts to go on after a failure."""
    open_s: float = 10.0
    """What a film's picture waits for a file to be open; after that, pictures do without until there is one."""
    encoder_s: float = ENCODER_TIMEOUT_S
    """What an encoder may take for a picture, and for the queue at the end of a segment."""
    close_s: float = 25.0
    """What closing may take in all."""


class NextSegment:
    """Opened by the maintenance thread, under a hidden name, as soon as the main thread has taken the one before."""

    def __init__(
        self, settings: RecordingConfig, *, fps: float, lossless: bool, timeouts: SegmentTimeouts | None = None
    ) -> None:
        """Open nothing yet. `lossless`: take() waits until a recorder is open."""
        self._settings, self._fps, self._lossless = settings, fps, lossless
        self._timeouts = timeouts or SegmentTimeouts()
        self._taking = threading.Lock()  # never held while a disk is touched
        self._recorder: Recorder | None = None  # guarded by _taking
        self._ready = threading.Event()  # a recorder is open, or not to be waited for
        self._mark = secrets.token_hex(4)  # no process id: every container has a process 1
        self._count = 0  # maintenance thread
        self._backoff = Backoff(self._timeouts.retry_s)  # maintenance thread

    def take(self) -> Recorder | None:
        """Hand the recorder to the main thread, which closes it; None if there is none yet."""
        if self._lossless and not self._ready.wait(self._timeouts.open_s):
            self._ready.set()  # a disk that hangs is waited for once
        return self._take()

    def prepare(self) -> None:
        """Open a recorder, unless one is open. After SinkError and OSError, which it raises, postpone() is due."""
        if (recorder := self._recorder) is not None and recorder.gone and self._take() is not None:
            recorder.discard()
        if self._recorder is not None or not self._backoff.due(time.monotonic()):
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
            path,
            encoder=options.encoder,
            quality=options.quality,
            fps=self._fps,
            lossless=self._lossless,
            encoder_timeout_s=self._timeouts.encoder_s,
        )
        with self._taking:  # else take() could come between the two lines, and the event would promise a recorder
            self._recorder = recorder
            self._ready.set()

    def postpone(self) -> None:
        """Open none for a while after a failure, and let nobody wait for one."""
        self._backoff.failed(time.monotonic())
        self._ready.set()

    def close(self) -> None:
        """Discard the recorder that nobody has taken."""
        if (recorder := self._take()) is not None:
            recorder.discard()

    def _take(self) -> Recorder | None:
        with self._taking:
            if self._recorder is not None:
                self._ready.clear()
            recorder, self._recorder = self._recorder, None
        return recorder
