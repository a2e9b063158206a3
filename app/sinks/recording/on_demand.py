"""The recorder that --record starts and the key r starts and stops."""

from __future__ import annotations

import contextlib
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

from app.config.schema import RecordingConfig
from app.errors import SinkError, extent
from app.overlays.view_state import ViewState
from app.pipeline.frame import OutputFrame
from app.sinks.filenames import begun, fresh, unused
from app.sinks.recording.recorder import Recorder
from engines.support.event_log import log_event

log = logging.getLogger(__name__)


class OnDemandRecorder:
    """At most one Recorder at a time. One that --record asked for may fail the run; one of the key's may not."""

    stage = "sink"

    def __init__(self, settings: RecordingConfig, view: ViewState, *, fps: float, lossless: bool) -> None:
        """Starts at once if settings.file is given. Raises SinkError."""
        self._settings, self._view, self._fps, self._lossless = settings, view, fps, lossless
        self._recorder: Recorder | None = None
        self._ended: list[dict[str, Any]] = []
        self._by_key = False
        if settings.file is not None:
            self._start(fresh(settings.file))
            begun.add(settings.file.absolute())

    def toggle(self) -> None:
        """What the key r does. A failure becomes a notice on the picture."""
        try:
            if self._recorder is not None:
                self._finish()
                self._view.say("recorded {seconds:.0f} s to {path}".format(**self._ended[-1]))
            else:
                self._by_key = True
                self._start(unused(self._settings.folder / f"recording-{datetime.now():%Y%m%d-%H%M%S}.mp4"))
                self._view.say("recording")
        except SinkError as error:
            self._tell(error)

    @property
    def running(self) -> bool:
        return self._recorder is not None

    def facts(self) -> list[dict[str, Any]]:
        """Of every recording, one after the other."""
        return self._ended + ([self._recorder.facts()] if self._recorder is not None else [])

    def write(self, picture: OutputFrame) -> None:
        if self._recorder is not None:
            try:
                self._recorder.write(picture)
            except SinkError as error:
                self._failed(error)

    def idle(self) -> None:
        if self._recorder is not None:
            try:
                self._recorder.idle()
            except SinkError as error:
                self._failed(error)

    def close(self) -> None:
        try:
            self._finish()
        except SinkError as error:
            if not self._by_key:
                raise
            self._tell(error)

    def _finish(self) -> None:
        """Close the recorder, if one runs, and keep its figures. Raises SinkError."""
        if self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            try:
                recorder.close()
            finally:
                self._ended.append(recorder.facts())

    def _start(self, path: Path) -> None:
        options = self._settings
        self._recorder = Recorder(
            path, encoder=options.encoder, quality=options.quality, fps=self._fps, lossless=self._lossless
        )
        log_event(log, logging.INFO, "recording_started", "recording to %(path)s", path=path)

    def _failed(self, error: SinkError) -> None:
        """Let go of a recorder that has failed; only the key's may fail quietly."""
        with contextlib.suppress(SinkError):  # the first failure is the one to tell
            self._finish()
        if not self._by_key:
            raise error
        self._tell(error)

    def _tell(self, error: SinkError) -> None:
        log_event(log, logging.WARNING, "recording_failed", "%(reason)s", reason=str(error), **extent(error))
        self._view.say(error.problem)
