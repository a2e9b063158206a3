"""H.264 into fragmented MP4 or Matroska, in a thread of its own, with the frames' true times."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from app.errors import RecordingError, SinkError
from app.ffmpeg import cause, reason
from app.pipeline.frame import FramePool, OutputFrame
from app.sinks.filenames import rename_without_replacing
from app.sinks.recording import gst_encoder
from app.sinks.recording.encoders import check_encoder
from app.sinks.recording.fragment_file import TruncatedError, identity
from app.sinks.recording.gst_encoder import TIME_BASE
from app.sinks.recording.muxer import create, pictures
from app.sinks.recording.video_track import VideoTrack
from engines.base import Image
from engines.support import nvtx
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

ENCODER_TIMEOUT_S = 20.0
"""What the encoder may take for one picture, and for all that is queued when the recording ends."""

ENCODE = nvtx.nvtx_range("encode")


class TakenError(SinkError):
    """Somebody else has deleted, moved or truncated a recording while it was being written."""

    def __init__(self, path: Path, what: str, left: str) -> None:
        """Say `what` has happened to the recording at `path`, and what is `left` of it."""
        super().__init__(
            f"The recording {path} was deleted, moved or truncated",
            f"it was {what} while it was being written; {left}",
            "Leave a recording alone until it has ended, or record into a folder that nobody cleans up.",
        )


class Recorder:
    """One recording. write() copies a picture and returns; the recorder thread encodes it and writes to disk."""

    def __init__(
        self,
        path: Path,
        *,
        encoder: str = "auto",
        quality: int = 20,
        fps: float = 30,
        lossless: bool,
        depth: int = 8,
        watched: bool = False,
        encoder_timeout_s: float = ENCODER_TIMEOUT_S,
        board_timeout_s: float = gst_encoder.TIMEOUT_S,
    ) -> None:
        """Begin a recording, without a picture yet. Raises SinkError.

        `quality`: libx264's constant rate factor. `fps`: the nominal rate, 0 if unknown. `lossless`: with `depth`
        pictures queued write() waits, instead of dropping this one. `watched`: the recording fails with TakenError once
        its file is not at `path` any more; else whoever owns it asks for `gone`. One that is truncated fails so in any
        case. `encoder_timeout_s`: for one picture, and for the queue at the end; `board_timeout_s`: for one picture of
        a board's own encoder.
        """
        self.path = path  # renamed by the owner; the recorder thread sets it when somebody else has moved the file
        self.dropped = 0  # main thread while the encoder keeps up, recorder thread once it has failed
        encoder = gst_encoder.choose(encoder)
        self._encoder, self._lossless, self._watched, self._timeout_s = encoder, lossless, watched, encoder_timeout_s
        self._queue: queue.Queue[tuple[Image, float] | None] = queue.Queue(depth)
        self._buffers = FramePool()
        self._failure: BaseException | None = None  # set by the recorder thread, taken by the thread that asks
        check_encoder(encoder)
        self._container, self._file = create(path)
        self._track = VideoTrack(
            self._container,
            self._file,
            path,
            encoder=encoder,
            quality=quality,
            fps=fps or 30.0,
            board_timeout_s=board_timeout_s,
        )
        self._identity = identity(path)  # changed by the owner's thread alone, in rename()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    @property
    def frames(self) -> int:
        """Pictures recorded; after a failure those that are in the file."""
        return self._track.frames

    @property
    def seconds(self) -> float:
        """Seconds from the first recorded frame to the last."""
        return self._track.seconds

    @property
    def behind(self) -> bool:
        """Whether pictures are waiting to be encoded."""
        return not self._queue.empty()

    @property
    def gone(self) -> bool:
        """Whether its file has been deleted, moved or replaced by somebody else. Raises OSError."""
        return self._identity is None or identity(self.path) != self._identity

    def rename(self, wanted: Path) -> None:
        """Go on under the name `wanted`, or wanted-2 ... if that is taken. Raises OSError."""
        self.path = rename_without_replacing(self.path, wanted)
        self._identity = identity(self.path)

    def facts(self) -> dict[str, Any]:
        """Return the figures for --stats; after a failure those of what is in the file.

        `path` is where the file is now if somebody has moved it, as far as the system says.
        """
        return {
            "path": str(self.path),
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "dropped": self.dropped,
        }

    def write(self, frame: OutputFrame) -> None:
        """Queue a copy. Raises SinkError if the recording has failed or is closed; what was written before plays."""
        self._check()
        image = self._buffers.acquire(*frame.image.shape[:2])
        np.copyto(image, frame.image)
        until = time.monotonic() + self._timeout_s
        while self._thread.is_alive():
            try:
                self._queue.put((image, frame.input.position), timeout=0.2 if self._lossless else 0.0)
                return
            except queue.Full:
                if not self._lossless:
                    self.dropped += 1
                    self._buffers.release(image)
                    return
            if time.monotonic() > until:
                raise self._error(f"the encoder has not taken a picture for {self._timeout_s:g} s")
        self._check()
        raise self._error("it is closed")

    def poll(self) -> None:
        """Raise SinkError if the recording has failed, even if no picture comes any more."""
        self._check()

    def close(self) -> None:
        """Finish, and log what was recorded. Raises SinkError as finish() does."""
        if self.finish():
            self.log_result()

    def finish(self) -> bool:
        """Encode what is queued and close the file; True if this call has done so and the file has pictures.

        Raises SinkError if the recording has failed and nobody knows yet.
        """
        whole = False
        if self._thread.is_alive():
            until = time.monotonic() + self._timeout_s
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=self._timeout_s)
            self._thread.join(max(0.0, until - time.monotonic()))
            if self._thread.is_alive():
                message = "the encoder has not finished %(path)s within %(timeout_s)g s; what was written can be played"
                timeout_s = self._timeout_s
                log_event(log, logging.WARNING, "recording_unfinished", message, path=self.path, timeout_s=timeout_s)
            else:
                whole = bool(self.frames)
        if not self._thread.is_alive():
            self._drop_queued()  # what came while it was failing
        self._check()
        return whole

    def discard(self) -> None:
        """Finish, and delete the file unless somebody has replaced it. Never raises."""
        with contextlib.suppress(SinkError):
            self.finish()
        with contextlib.suppress(OSError):
            if not self.gone:
                self.path.unlink()

    def log_result(self) -> None:
        """Log what was recorded."""
        log_event(
            log,
            logging.INFO,
            "recording_finished",
            "recorded %(frames)d frames, %(seconds).1f s, to %(path)s",
            frames=self.frames,
            seconds=self.seconds,
            path=self.path,
        )

    def _check(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            if isinstance(failure, TakenError):
                raise failure
            raise self._error(reason(failure), full=isinstance(cause(failure), OSError)) from failure

    def _error(self, why: str, *, full: bool = False) -> RecordingError:
        return RecordingError(
            f"The recording {self.path} has failed",
            "Make room on the disk, or record somewhere else."
            if self.frames or full
            else f"Choose another encoder than {self._encoder} with --encoder, or record somewhere else.",
            reason=why,
            frames=self.frames,
            seconds=self.seconds,
        )

    def _work(self) -> None:
        try:
            with self._file:
                with self._container:
                    self._encode_all()
                if self.frames:
                    self._file.check_length()
                    self._check_place()
        except BaseException as error:
            why = cause(error)
            if isinstance(why, TruncatedError):
                frames, (left, seconds) = self.frames, pictures(self.path)
                self.dropped += self._track.keep(left, round(seconds / TIME_BASE))
                rest = f"{left} of its {frames} frames, {seconds:.1f} s, are left"
                self._failure = TakenError(self.path, str(why), rest)
            else:
                if self._file.failed:  # the muxer loses what it was about to write: half a second, by FORMATS
                    self.dropped += self._track.keep_written()
                self._failure = error
            self._track.abort()
        if self._failure is not None:
            self._drop_queued()  # a writer that waits for room finds it, and then the failure

    def _drop_queued(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self.dropped += self._queue.get_nowait() is not None

    def _encode_all(self) -> None:
        """Encode pictures until the end of the queue, or until a watched file is gone."""
        while (item := self._queue.get()) is not None:
            image, position = item
            before = self._file.writes
            try:
                with ENCODE:
                    self._encode(image, position)
            except BaseException:
                self.dropped += 1
                raise
            self._buffers.release(image)
            if self._watched and self._file.writes != before and self._place() != self.path:
                break
        self._track.finish()

    def _place(self) -> Path | None:
        """Find where the file is now; None if it is gone. A file that cannot be looked at counts as in its place."""
        try:
            return self._file.find(self.path)
        except OSError:
            return self.path

    def _check_place(self) -> None:
        """Fail if a watched file, which has all its pictures, is not where it should be."""
        if not self._watched or (place := self._place()) == self.path:
            return
        wanted, length = self.path, f"{self.frames} frames, {self.seconds:.1f} s,"
        if place is None:
            self.dropped += self._track.keep(0, 0)
            self._failure = TakenError(wanted, "deleted or moved away", f"its {length} are lost")
        else:
            self.path = place
            self._failure = TakenError(wanted, f"moved to {place}", f"its {length} are there")

    def _encode(self, image: Image, position: float) -> None:
        self._track.encode(image, position)
