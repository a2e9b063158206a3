"""Recorder: H.264 into fragmented MP4 or Matroska, in a thread of its own, with the frames' true times."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
import typing
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from app.frame import Buffers, Picture
from app.sinks import SinkError, gstreamer
from app.sinks.fragments import BUFFER, FragmentFile
from app.swscale import EXACT
from engines.base import Image

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

log = logging.getLogger(__name__)

TIME_BASE = Fraction(1, 90000)
GIVE_UP = 20.0
"""Seconds the encoder may take for one picture, and for what is queued when the recording ends."""

# What has been written plays even if the power fails now: nothing waits in a buffer, and no index waits for the end.
FORMATS: dict[str, dict[str, str]] = {
    "mp4": {
        "movflags": "+frag_keyframe+empty_moov+default_base_moof",
        "frag_duration": "500000",  # microseconds
        "flush_packets": "1",
    },
    "matroska": {"cluster_time_limit": "500", "flush_packets": "1"},  # milliseconds
}

KINDS = {".mp4": "mp4", ".mkv": "matroska"}
"""FFmpeg's names of what can be recorded."""

ENCODERS = ("libx264", "h264_nvenc", "h264_v4l2m2m", "h264_nvmpi", "h264_vaapi", "libopenh264", "h264_videotoolbox")


class Recorder:
    """One recording. write() copies a picture and returns; the thread encodes and writes to disk.

    The size is that of the first picture, cut to even numbers, which 4:2:0 needs; later pictures of another size are
    fitted into it with black bars.
    """

    stage = "sink"

    def __init__(
        self,
        path: Path,
        *,
        encoder: str = "auto",
        quality: int = 20,
        fps: float = 30,
        lossless: bool,
        depth: int = 8,
    ) -> None:
        """`lossless`: with `depth` pictures queued write() waits, instead of dropping this one. Raises SinkError."""
        self.path, self.frames, self.dropped = path, 0, 0
        encoder = gstreamer.choose(encoder)
        self._encoder, self._quality, self._fps, self._lossless = encoder, quality, fps or 30.0, lossless
        self._queue: queue.Queue[tuple[Image, float] | None] = queue.Queue(depth)
        self._buffers, self._reformatter = Buffers(), VideoReformatter()
        self._failure: BaseException | None = None
        self._first: int | None = None
        self._last = -1
        self._stream: Any = None
        check_encoder(encoder)
        self._container, self._file = create(path)
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

    def facts(self) -> dict[str, Any]:
        """For --stats."""
        return {
            "path": str(self.path),
            "frames": self.frames,
            "seconds": round(self.seconds, 3),
            "dropped": self.dropped,
        }

    def write(self, picture: Picture) -> None:
        """Queue a copy. Raises SinkError if the recording has failed or is closed; what was written before plays."""
        self._check()
        image = self._buffers.take(*picture.image.shape[:2])
        np.copyto(image, picture.image)
        until = time.monotonic() + GIVE_UP
        while self._thread.is_alive():
            try:
                self._queue.put((image, picture.frame.position), timeout=0.2 if self._lossless else 0.0)
                return
            except queue.Full:
                if not self._lossless:
                    self.dropped += 1
                    self._buffers.give(image)
                    return
            if time.monotonic() > until:
                raise self._error(f"the encoder has not taken a picture for {GIVE_UP:g} s")
        self._check()
        raise self._error("it is closed")

    def idle(self) -> None:
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
                log.warning("the encoder has not finished %s within %g s; it plays up to there", self.path, GIVE_UP)
            else:
                whole = bool(self.frames)
        self._check()
        return whole

    def tell(self) -> None:
        log.info("recorded %d frames, %.1f s, to %s", self.frames, self.seconds, self.path)

    def _check(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise self._error(reason(failure), full=isinstance(cause(failure), OSError)) from failure

    def _error(self, why: str, *, full: bool = False) -> SinkError:
        # A muxer loses what it was about to write: half a second, by FORMATS.
        kept = f"{self.frames} frames, {self.seconds:.1f} s, were recorded and play but for the last half second"
        return SinkError(
            f"The recording {self.path} has failed",
            f"{why}; {kept}" if self.frames else f"{why}; nothing was recorded",
            "Make room on the disk, or record somewhere else."
            if self.frames or full
            else f"Choose another encoder than {self._encoder} with --encoder, or record somewhere else.",
        )

    def _work(self) -> None:
        try:
            with self._file, self._container:
                while (item := self._queue.get()) is not None:
                    image, position = item
                    self._encode(image, position)
                    self._buffers.give(image)
                if self._stream is not None:
                    self._container.mux(self._stream.encode(None))
        except BaseException as error:
            self._failure = error
            if isinstance(self._stream, gstreamer.GstStream):
                self._stream.close()
            with contextlib.suppress(queue.Empty):
                while True:
                    self._queue.get_nowait()

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
        ticks = ticks if self._first is None else max(ticks, self._last + 1)
        self._first = ticks if self._first is None else self._first
        frame.pts, frame.time_base = ticks - self._first, TIME_BASE
        self._last = ticks
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def _open_stream(self, image: Image) -> Any:
        height, width = image.shape[:2]
        if self._encoder in gstreamer.PIPELINES:
            return gstreamer.GstStream(self._container, self._encoder, (width & ~1, height & ~1), self._fps)
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


def check_encoder(name: str) -> None:
    """Raise SinkError, naming what there is, if FFmpeg has no video encoder `name` or it does not start here.

    Only `name` itself is started: on some boards a hardware encoder that is not there hangs whoever tries it.
    """
    if name in gstreamer.PIPELINES:
        gstreamer.check(name)
        return
    if not known(name):
        problem, fact = f"There is no encoder {name}", ""
    else:
        context = typing.cast("VideoCodecContext", av.CodecContext.create(name, "w"))
        context.width, context.height, context.pix_fmt = 640, 360, "yuv420p"  # above every hardware's smallest
        context.time_base, context.framerate = TIME_BASE, Fraction(30)
        try:
            context.open()
            return
        except (FFmpegError, ValueError) as error:
            problem, fact = f"The encoder {name} cannot be used on this machine", f"{reason(error)}; "
    others = [other for other in ENCODERS if other != name and known(other)]
    fact += f"this FFmpeg also knows: {', '.join(others) or 'none for H.264'}"
    raise SinkError(problem, fact, "Choose another with --encoder; libx264 needs no hardware.")


def known(name: str) -> bool:
    """Whether this FFmpeg was built with a video encoder `name`; its hardware may be missing all the same."""
    try:
        return av.Codec(name, "w").type == "video"
    except (ValueError, FFmpegError):
        return False


def kind_of(path: Path) -> str:
    """FFmpeg's name of the kind of file that `path` is to be. Raises SinkError."""
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise SinkError(
            f"Cannot record to {path}",
            f"its name ends in {path.suffix or 'nothing'}",
            "Use a name that ends in .mp4 or .mkv.",
        )
    return kind


def create(path: Path) -> tuple[Any, FragmentFile]:
    """An open container for `path` and the file it writes; its folder is made. Raises SinkError."""
    kind = kind_of(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size:
            log.warning("%s is there already and is written anew", path)
        file = FragmentFile(path)
        return av.open(file, "w", format=kind, options=FORMATS[kind], buffer_size=BUFFER), file
    except BlockingIOError:
        raise SinkError(f"Cannot record to {path}", "another program is writing it", "Give another name.") from None
    except OSError as error:  # PyAV's errors of the system are OSErrors too
        raise SinkError(
            f"Cannot record to {path}", reason(error), f"Is {path.parent.absolute()} a folder you may write to?"
        ) from None


def cause(error: BaseException) -> BaseException:
    """What PyAV has wrapped, if it has: an error of the file that it was given."""
    return error.__cause__ or error.__context__ or error


def reason(error: BaseException) -> str:
    """What the system says, without the address of the file in it."""
    error = cause(error)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
