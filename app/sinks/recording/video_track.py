"""The H.264 track of a recording: pictures in, packets into a container, with the frames' true times."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter

from app.ffmpeg import EXACT
from app.pipeline.frame import letterbox
from app.sinks.recording import gst_encoder
from app.sinks.recording.fragment_file import FragmentFile
from app.sinks.recording.gst_encoder import TIME_BASE
from app.sinks.recording.muxer import kind_of
from engines.base import Image

MAX_PICTURE_TICKS = {"mp4": 2**31 - 2}
"""How long a picture may last, by kind of file: after a longer one FFmpeg gives each picture of an MP4 one tick."""


class VideoTrack:
    """Encodes pictures and counts those that are in the file. Recorder thread only; anyone may read the figures.

    The size is that of the first picture, cut to even numbers, which 4:2:0 needs; later pictures of another size are
    fitted into it with black bars.
    """

    def __init__(
        self,
        container: Any,
        file: FragmentFile,
        path: Path,
        *,
        encoder: str,
        quality: int,
        fps: float,
        board_timeout_s: float = gst_encoder.TIMEOUT_S,
    ) -> None:
        """Make a track of `container`, which writes to `file`; the encoder starts with the first picture.

        The kind of file follows from `path`; `quality` is libx264's constant rate factor; `fps` the nominal rate.
        """
        self._container, self._file = container, file
        self._encoder, self._quality, self._fps, self._board_timeout_s = encoder, quality, fps, board_timeout_s
        self._max_picture_ticks = MAX_PICTURE_TICKS.get(kind_of(path), sys.maxsize)
        self._reformatter = VideoReformatter()
        self._stream: Any = None
        self.frames = 0
        """Pictures encoded, and after keep() those that are in the file."""
        self._first: int | None = None  # times of the first and last picture, in ticks of the source's time
        self._last = -1
        self._held_back: list[int] = []  # times of the packets that the muxer has not written yet
        self._written = (0, 0)  # pictures that are in the file, and the time of the last, in ticks of the recording

    @property
    def seconds(self) -> float:
        """Seconds from the first picture to the last."""
        return float((self._last - self._first) * TIME_BASE) if self._first is not None else 0.0

    def encode(self, image: Image, position: float) -> None:
        """Encode `image`, uint8 [H, W, 3] BGR, taken at `position` seconds of the source's time.

        Raises SinkError, and whatever PyAV and the file raise.
        """
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
            self._first += max(0, ticks - self._last - self._max_picture_ticks)  # cuts a night without a camera short
        frame.pts, frame.time_base = ticks - self._first, TIME_BASE
        self._last = ticks
        self._mux(frame)
        self.frames += 1

    def finish(self) -> None:
        """Encode and write what the encoder still has. Raises as encode() does."""
        if self._stream is not None:
            self._mux(None)

    def abort(self) -> None:
        """Free what would go on running after a failure."""
        if isinstance(self._stream, gst_encoder.GstStream):
            self._stream.close()

    def keep_written(self) -> int:
        """Count only what is in the file, after the muxer has lost the rest; return how many pictures that were."""
        return self.keep(*self._written)

    def keep(self, frames: int, last: int) -> int:
        """Count only the first `frames`, the last of which is at `last` ticks of the recording; return the rest."""
        lost = self.frames - frames
        self.frames, self._last = frames, last + (self._first or 0)
        return lost

    def _mux(self, frame: av.VideoFrame | None) -> None:
        """Encode `frame`, or what is left if it is None, and keep count of what has reached the file."""
        for packet in self._stream.encode(frame):
            before, pts = self._file.writes, packet.pts
            self._container.mux(packet)
            if self._file.writes != before and self._held_back:  # this packet ended the fragment of the ones before it
                self._written = self._written[0] + len(self._held_back), self._held_back[-1]
                self._held_back.clear()
            self._held_back.append(pts)

    def _open_stream(self, image: Image) -> Any:
        height, width = image.shape[:2]
        if self._encoder in gst_encoder.PIPELINES:
            return gst_encoder.GstStream(
                self._container, self._encoder, (width & ~1, height & ~1), self._fps, self._board_timeout_s
            )
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
    """Return `image` without its odd pixels, or scaled into `size` (width, height) between black bars."""
    height, width = image.shape[:2]
    if (width & ~1, height & ~1) == size:
        return image[: size[1], : size[0]]
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    x, y, inner_width, inner_height = letterbox((width, height), size)
    inner = canvas[y : y + inner_height, x : x + inner_width]
    cv2.resize(image, (inner_width, inner_height), dst=inner, interpolation=cv2.INTER_AREA)
    return canvas
