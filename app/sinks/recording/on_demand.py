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
from app.sinks.filenames import Filenames, unique_name
from app.sinks.recording.recorder import Recorder, TakenError
from engines.support.event_log import log_event

log = logging.getLogger(__name__)


class OnDemandRecorder:
    """Runs at most one Recorder at a time. --record's recording may fail the run; one started by the key may not.

    If somebody takes the file away, or truncates it, another one is begun; for --record that fails the run at its end.
    Main thread only.
    """

    def __init__(
        self,
        settings: RecordingConfig,
        view: ViewState,
        filenames: Filenames | None = None,
        *,
        fps: float,
        lossless: bool,
    ) -> None:
        """Start recording if settings.file is given. Raises SinkError.

        `filenames` knows what earlier sessions have written; `fps`: the source's nominal rate, 0 if unknown.
        """
        self._settings, self._view, self._fps, self._lossless = settings, view, fps, lossless
        self._recorder: Recorder | None = None
        self._ended: list[dict[str, Any]] = []
        self._by_key = False
        self._taken: tuple[TakenError, int] | None = None  # --record's first, and how many recordings had ended
        if settings.file is not None:
            filenames = filenames or Filenames()
            self._path = filenames.new_name(settings.file)
            self._start(self._path)
            filenames.add(settings.file)

    def toggle(self) -> None:
        """Start or stop recording, as the key r does. A failure becomes a notice on the picture."""
        try:
            if self._recorder is not None:
                self._finish()
                self._view.say("recorded {seconds:.0f} s to {path}".format(**self._ended[-1]))
            else:
                self._by_key = True
                self._path = unique_name(self._settings.folder / f"recording-{datetime.now():%Y%m%d-%H%M%S}.mp4")
                self._start(self._path)
                self._view.say("recording")
        except SinkError as error:
            self._warn(error)

    @property
    def running(self) -> bool:
        """Whether it records now."""
        return self._recorder is not None

    def facts(self) -> list[dict[str, Any]]:
        """Return the figures of every recording, one after the other, for --stats."""
        return self._ended + ([self._recorder.facts()] if self._recorder is not None else [])

    def write(self, frame: OutputFrame) -> None:
        """Record a picture, if a recording runs. Raises SinkError if --record's has failed."""
        if self._recorder is not None:
            try:
                self._recorder.write(frame)
            except TakenError as error:
                self._begin_another(error, frame)
            except SinkError as error:
                self._failed(error)

    def poll(self) -> None:
        """Notice a failure even if no picture comes. Raises SinkError if --record's has failed."""
        if self._recorder is not None:
            try:
                self._recorder.poll()
            except TakenError as error:
                self._begin_another(error)
            except SinkError as error:
                self._failed(error)

    def close(self) -> None:
        """Finish what is being recorded. Raises SinkError, once, if --record's is not whole."""
        try:
            self._finish()
        except TakenError as error:
            if self._taken is None or self._taken[0] is not error:
                self._warn(error)
        except SinkError as error:
            if not self._by_key:
                self._taken = None  # logged when it was noticed
                raise
            self._warn(error)
        if self._taken is not None:
            (first, ended), self._taken = self._taken, None
            later = [
                "{frames} frames, {seconds:.1f} s, were recorded to {path} after that".format(**facts)
                for facts in self._ended[ended:]
                if facts["frames"]
            ]
            raise SinkError(first.problem, "; ".join([first.facts, *later]), first.fix)

    def _finish(self) -> None:
        """Close the recorder, if one runs, and keep its figures. Raises SinkError."""
        if self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            try:
                recorder.close()
            except TakenError as error:
                self._remember(error)
                raise
            finally:
                self._ended.append(recorder.facts())

    def _start(self, path: Path) -> Recorder:
        options = self._settings
        self._recorder = recorder = Recorder(
            path,
            encoder=options.encoder,
            quality=options.quality,
            fps=self._fps,
            lossless=self._lossless,
            watched=True,
        )
        log_event(log, logging.INFO, "recording_started", "recording to %(path)s", path=recorder.path)
        return recorder

    def _remember(self, error: TakenError) -> None:
        """Keep the first such failure of --record, which is raised at the end."""
        if not self._by_key and self._taken is None:
            self._taken = error, len(self._ended) + 1

    def _begin_another(self, error: TakenError, frame: OutputFrame | None = None) -> None:
        """Go on in another file after this failure, beginning with `frame`. Raises SinkError."""
        self._remember(error)
        self._warn(error)
        with contextlib.suppress(SinkError):
            self._finish()
        try:
            recorder = self._start(unique_name(self._path))
            message = "recording continues in %(path)s"
            log_event(log, logging.WARNING, "recording_resumed", message, path=recorder.path)
            if frame is not None:
                recorder.write(frame)
        except SinkError as second:
            self._failed(second)

    def _failed(self, error: SinkError) -> None:
        """Drop a recorder that has failed. Raises `error` unless the key has started it."""
        with contextlib.suppress(SinkError):  # the first failure is the one to report
            self._finish()
        if not self._by_key:
            raise error
        self._warn(error)

    def _warn(self, error: SinkError) -> None:
        log_event(log, logging.WARNING, "recording_failed", "%(reason)s", reason=str(error), **extent(error))
        self._view.say(error.problem)
