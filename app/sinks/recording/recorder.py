"""H.264 into fragmented MP4 or Matroska, in a thread of its own, with the frames' true times."""

from __future__ import annotations

import contextlib
import logging
import queue
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from app.errors import RecordingError, SinkError
from app.ffmpeg import EXACT, cause, reason
from app.pipeline.frame import FramePool, OutputFrame
from app.sinks.filenames import rename_without_replacing
from app.sinks.recording import gst_encoder
from app.sinks.recording.encoders import check_encoder
from app.sinks.recording.fragment_file import TruncatedError, identity
from app.sinks.recording.gst_encoder import TIME_BASE
from app.sinks.recording.muxer import create, kind_of, pictures
from engines.base import Image
from engines.support import nvtx
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

LONGEST = {"mp4": 2**31 - 2}
"""Ticks that a picture may last, by kind of file: after a longer one FFmpeg gives each picture of an MP4 one tick."""
GIVE_UP = 20.0
"""Seconds the encoder may take for one picture, and for what is queued when the recording ends."""

ENCODE = nvtx.nvtx_range("encode")


class TakenError(SinkError):
    """Somebody else has deleted, moved or truncated a recording while it was being written."""

    def __init__(self, path: Path, what: str, left: str) -> None:
        super().__init__(
            f"The recording {path} has been taken away or cut short",
            f"it was {what} while it was being written; {left}",
            "Leave a recording alone until it has ended, or record into a folder that nothing tidies up.",
        )


class Recorder:
    """One recording. write() copies a picture and returns; the thread encodes and writes to disk.

    The size is that of the first picture, cut to even numbers, which 4:2:0 needs; later pictures of another size are
    fitted into it with black bars.
    """

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
    ) -> None:
        """Begin it, without a picture yet. Raises SinkError.

        `lossless`: with `depth` pictures queued write() waits, instead of dropping this one. `watched`: the recording
        fails with TakenError once its file is not at `path` any more; else whoever has it asks for `gone`. One that is
        truncated fails so in any case.
        """
        self.path, self.frames, self.dropped = path, 0, 0
        self._packets: list[int] = []  # the times of those that the muxer holds back
        self._kept = (0, 0)  # pictures in the file, and the time of the last of them
        encoder = gst_encoder.choose(encoder)
        self._encoder, self._quality, self._fps, self._lossless = encoder, quality, fps or 30.0, lossless
        self._watched = watched
        self._queue: queue.Queue[tuple[Image, float] | None] = queue.Queue(depth)
        self._buffers, self._reformatter = FramePool(), VideoReformatter()
        self._failure: BaseException | None = None
        self._first: int | None = None
        self._last = -1
        self._stream: Any = None
        check_encoder(encoder)
        self._container, self._file = create(path)
        self._longest = LONGEST.get(kind_of(path), sys.maxsize)
        self._identity = identity(path)
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """From the first recorded frame to the last."""
        return float((self._last - self._first) * TIME_BASE) if self._first is not None else 0.0

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
        """For --stats. After a failure: what is in the file, without what was on its way to it.

        `path` is where a file is that somebody has moved, if that can be told.
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
        until = time.monotonic() + GIVE_UP
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
                raise self._error(f"the encoder has not taken a picture for {GIVE_UP:g} s")
        self._check()
        raise self._error("it is closed")

    def poll(self) -> None:
        """Tell of a failure even if no picture comes any more."""
        self._check()

    def close(self) -> None:
        """finish(), and tell what was recorded."""
        if self.finish():
            self.tell()

    def finish(self) -> bool:
        """Encode what is queued and close the file; whether this call has, and there is something in it.

        Raises SinkError if the recording has failed unnoticed.
        """
        whole = False
        if self._thread.is_alive():
            until = time.monotonic() + GIVE_UP
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=GIVE_UP)
            self._thread.join(max(0.0, until - time.monotonic()))
            if self._thread.is_alive():
                message = "the encoder has not finished %(path)s within %(timeout_s)g s; it plays up to there"
                log_event(log, logging.WARNING, "recording_unfinished", message, path=self.path, timeout_s=GIVE_UP)
            else:
                whole = bool(self.frames)
        if not self._thread.is_alive():
            self._drop_queued()  # what came while it was failing
        self._check()
        return whole

    def discard(self) -> None:
        """Finish, and delete the file if it is still this one. Never raises."""
        with contextlib.suppress(SinkError):
            self.finish()
        with contextlib.suppress(OSError):
            if not self.gone:
                self.path.unlink()

    def tell(self) -> None:
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
                    self._look_for_it()
        except BaseException as error:
            why = cause(error)
            if isinstance(why, TruncatedError):
                frames, (left, seconds) = self.frames, pictures(self.path)
                self._keep(left, round(seconds / TIME_BASE))
                told = f"{left} of its {frames} frames, {seconds:.1f} s, are left"
                self._failure = TakenError(self.path, str(why), told)
            else:
                if self._file.failed:  # the muxer loses what it was about to write: half a second, by FORMATS
                    self._keep(*self._kept)
                self._failure = error
            if isinstance(self._stream, gst_encoder.GstStream):
                self._stream.close()
        if self._failure is not None:
            self._drop_queued()  # whoever waits for room finds it, and then the failure

    def _drop_queued(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self.dropped += self._queue.get_nowait() is not None

    def _encode_all(self) -> None:
        """Encode what comes, until the end or until the file is gone."""
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
        if self._stream is not None:
            self._mux(None)

    def _place(self) -> Path | None:
        """Where the file is now; None if it is gone. One that cannot be looked at counts as there."""
        try:
            return self._file.find(self.path)
        except OSError:
            return self.path

    def _look_for_it(self) -> None:
        """Fail if a file that is watched, and has all its pictures, is not where it should be."""
        if not self._watched or (place := self._place()) == self.path:
            return
        asked, length = self.path, f"{self.frames} frames, {self.seconds:.1f} s,"
        if place is None:
            self._keep(0, 0)
            self._failure = TakenError(asked, "deleted or moved away", f"its {length} are lost")
        else:
            self.path = place
            self._failure = TakenError(asked, f"moved to {place}", f"its {length} are there")

    def _keep(self, frames: int, last: int) -> None:
        """Count only the first `frames`, the last of which is at `last` ticks of the recording; the rest is lost."""
        self.dropped += self.frames - frames
        self.frames, self._last = frames, last + (self._first or 0)

    def _encode(self, image: Image, position: float) -> None:
        if self._stream is None:
            self._stream = self._open_stream(image)
        frame = av.VideoFrame.from_ndarray(fitted(image, (self._stream.width, self._stream.height)), format="bgr24")
        frame = self._reformatter.reformat(
            frame,
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=EXACT,
        )
        ticks = round(position / TIME_BASE)
        if self._first is None:
            self._first = ticks
        else:
            ticks = max(ticks, self._last + 1)
            self._first += max(0, ticks - self._last - self._longest)  # what is left of a night without a camera
        frame.pts, frame.time_base = ticks - self._first, TIME_BASE
        self._last = ticks
        self._mux(frame)
        self.frames += 1

    def _mux(self, frame: av.VideoFrame | None) -> None:
        """Encode `frame`, or with None what is left, and keep account of what has reached the file."""
        for packet in self._stream.encode(frame):
            before, pts = self._file.writes, packet.pts
            self._container.mux(packet)
            if self._file.writes != before and self._packets:  # this one ended the fragment of those before it
                self._kept = self._kept[0] + len(self._packets), self._packets[-1]
                self._packets.clear()
            self._packets.append(pts)

    def _open_stream(self, image: Image) -> Any:
        height, width = image.shape[:2]
        if self._encoder in gst_encoder.PIPELINES:
            return gst_encoder.GstStream(self._container, self._encoder, (width & ~1, height & ~1), self._fps)
        rate = Fraction(self._fps).limit_denominator(1001)
        stream: Any = self._container.add_stream(self._encoder, rate=rate, options=self._options())
        stream.width, stream.height, stream.pix_fmt, stream.time_base = width & ~1, height & ~1, "yuv420p", TIME_BASE
        context = stream.codec_context
        context.time_base, context.gop_size, context.max_b_frames = TIME_BASE, max(1, round(self._fps)), 0
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        if self._encoder != "libx264":
            # No common quality setting exists: a tenth of a bit a pixel looks right for H.264 in hardware.
            stream.bit_rate = int(width * height * self._fps * 0.1)
        return stream

    def _options(self) -> dict[str, str]:
        if self._encoder != "libx264":
            return {}
        # zerolatency: no frame waits inside the encoder, where a power failure would lose it.
        return {"preset": "veryfast", "tune": "zerolatency", "crf": str(self._quality)}


def fitted(image: Image, size: tuple[int, int]) -> Image:
    """`image` itself, cut by the odd pixel, or scaled into `size` (width, height) between black bars."""
    (height, width), (wide, high) = image.shape[:2], size
    if (width & ~1, height & ~1) == size:
        return image[:high, :wide]
    scale = min(wide / width, high / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = np.zeros((high, wide, 3), np.uint8)
    x, y = (wide - inner[0]) // 2, (high - inner[1]) // 2
    canvas[y : y + inner[1], x : x + inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    return canvas
