"""A video file or a network stream through PyAV."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from app.errors import SourceError
from app.ffmpeg import EXACT
from app.pipeline.frame import Frame, FramePool
from app.sources.close_guard import CloseGuard
from app.sources.demuxer import READ_TIMEOUT_S, STREAM_OPEN_TIMEOUT_S, open_file, open_stream
from app.sources.display_matrix import orientation_of
from app.sources.timestamps import MAX_FRAME_DURATION_S, MAX_LIVE_STEP_AHEAD_S, Timeline
from app.uri import shown
from engines.base import Image
from engines.support.event_log import log_event

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream as AnyStream
    from av.video.plane import VideoPlane
    from av.video.stream import VideoStream

log = logging.getLogger(__name__)

NO_TIMESTAMPS = 0x0080
CLOCK_MAY_RESTART = 0x0200
"""FFmpeg's AVFMT_NOTIMESTAMPS and AVFMT_TS_DISCONT, in a format's flags."""

ASSUMED_FPS = 25.0
"""The rate where neither timestamps nor the container say how long a frame lasts."""


class VideoSource:
    """A file (a Path, or an http address that has an end), of which every frame comes; or a live stream.

    Frames keep their own size even if it changes midway, and are upright if the file says how it was filmed.
    """

    def __init__(
        self,
        uri: Path | str,
        *,
        loop: bool = False,
        limit: float = STREAM_OPEN_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
    ) -> None:
        """Open `uri`: a file if it is a Path, else a network address, which has twice `limit` seconds to answer.

        `loop` begins a file again at its end; a stream has `read_timeout_s` for its next picture. Raises SourceError.
        """
        self._read_timeout_s = read_timeout_s
        self.name = uri.name if isinstance(uri, Path) else shown(uri)
        self._open: Callable[[], tuple[InputContainer, VideoStream]] = lambda: (
            open_file(uri) if isinstance(uri, Path) else open_stream(uri, limit=limit, read_timeout_s=read_timeout_s)
        )
        self._container, self._video = self._open()
        self._guard = CloseGuard(lambda: self._container.close())
        self.live = self.paced = self.camera = not isinstance(uri, Path) and self._container.duration is None
        # MJPEG over http has no timestamps, and FFmpeg makes up some at 25 fps: there the time of arrival counts.
        flags = self._container.format.flags
        self._has_timestamps = not (self.live and flags & NO_TIMESTAMPS)
        rate = self._video.average_rate or self._video.guessed_rate or 0
        self.fps = float(rate) if self._has_timestamps else 0.0
        ahead = MAX_LIVE_STEP_AHEAD_S if self.live or flags & CLOCK_MAY_RESTART else MAX_FRAME_DURATION_S
        self._timeline = Timeline(1 / (self.fps or ASSUMED_FPS), ahead)
        self._loop = loop and not self.live
        self._udp = not isinstance(uri, Path) and uri.startswith("udp:")
        self._buffers, self._reformatter = FramePool(), VideoReformatter()
        self._skipped, self._logged_at = 0, float("-inf")

    def __iter__(self) -> Iterator[Frame]:
        with self._guard as ended:
            index = 0
            while not ended.is_set():
                first, began = index, self._timeline.last or 0.0
                for picture, seconds in self._decoded():
                    start = time.monotonic()
                    image, release = self._image(picture)
                    now = time.monotonic()
                    position = self._timeline.at(self._stamp(picture, now), now if self.live else None)
                    yield Frame(image, index, now, position, seconds + now - start, on_release=release)
                    index += 1
                    if ended.is_set():
                        break
                if ended.is_set():
                    return
                self._check_pass(index - first, (self._timeline.last or 0.0) - began, again=first > 0)
                if not self._loop:
                    return
                # Not a seek to the start, which raw streams and some files cannot do; all can be opened again.
                self._container.close()
                self._container, self._video = self._open()
                self._timeline.restart()

    def close(self) -> None:
        """End the iteration: within the read timeout if it waits for the network, else within a frame. Idempotent."""
        self._guard.close()

    def _packets(self) -> Iterator[Packet[AnyStream] | None]:
        """Yield the packets of the video, then None."""
        self._last_picture_at = arrived = time.monotonic()
        try:
            # Packets of all streams, not of the video alone: sound without pictures must not keep us in demux().
            for packet in self._container.demux():
                if self._guard.ended.is_set():
                    return
                # When the packet before came: MPEG-TS holds back the last one until the stream has timed out.
                silent, arrived = arrived - self._last_picture_at, time.monotonic()
                if self.live and silent > self._read_timeout_s:
                    raise SourceError(f"{self.name} sends data, but no pictures", f"none for {silent:.0f} s")
                if packet.stream is self._video and packet.size:
                    yield packet
        except FFmpegError as error:
            self._on_read_error(error)
        yield None  # whatever has happened, the decoder still holds frames

    def _decoded(self) -> Iterator[tuple[VideoFrame, float]]:
        """Yield the frames of one pass through the file, each with the seconds that decoding it took."""
        codec = self._video.codec_context
        # Frame threads are the fastest, but delay by as many frames as there are threads.
        codec.thread_type = "SLICE" if self.live else "AUTO"
        if self.live:
            codec.flags |= av.codec.context.Flags.low_delay
        for packet in self._packets():
            began = time.monotonic()
            try:
                frames = codec.decode(packet)
            except FFmpegError as error:
                self._skip(error)
                continue
            seconds = time.monotonic() - began
            for frame in frames:
                yield frame, seconds / len(frames)
                self._last_picture_at = time.monotonic()

    def _image(self, picture: VideoFrame) -> tuple[Image, Callable[[Image], None] | None]:
        """Return `picture` as BGR, and what takes its memory back; None if the image is a view of PyAV's memory."""
        plane = self._reformatter.reformat(picture, format="bgr24", interpolation=EXACT, threads=1).planes[0]
        height, width, pitch = plane.height, plane.width, plane.line_size
        if orientation := orientation_of(picture):
            upright_width, upright_height = orientation.size((width, height))
            image = self._buffers.acquire(upright_height, upright_width)
            orientation.apply(_rows(plane), image)
            return image, self._buffers.release
        if pitch == 3 * width:
            return _rows(plane), None
        image = self._buffers.acquire(height, width)
        if pitch > 0:
            np.copyto(image, _rows(plane))
        else:  # stored bottom up, as uncompressed AVI is: PyAV passes it on as it is, so convert it there and back
            plane = self._reformatter.reformat(picture, format="rgb24", interpolation=EXACT, threads=1).planes[0]
            np.copyto(image, _rows(plane)[:, :, ::-1])
        return image, self._buffers.release

    def _stamp(self, picture: VideoFrame, now: float) -> float | None:
        if not self._has_timestamps:
            return now
        base = self._video.time_base  # the picture's own is unset once the decoder is flushed
        return None if picture.pts is None or base is None else float(picture.pts * base)

    def _skip(self, error: FFmpegError) -> None:
        """Count what cannot be decoded, and log that at most once a second."""
        self._skipped += 1
        if time.monotonic() - self._logged_at >= 1:
            log_event(
                log,
                logging.WARNING,
                "pictures_skipped",
                "%(source)s: skipped %(pictures)d pictures that cannot be decoded (%(reason)s)",
                source=self.name,
                pictures=self._skipped,
                reason=error.strerror,
            )
            self._skipped, self._logged_at = 0, time.monotonic()

    def _on_read_error(self, error: FFmpegError) -> None:
        """Raise SourceError if the sender is silent; any other failure counts as the end."""
        if isinstance(error, av.error.ExitError) and not self._udp:  # udp has no other way to end
            raise SourceError(
                f"{self.name} has stopped answering",
                f"no data came for {self._read_timeout_s:g} s",
                "Check the sender and the network.",
            ) from None
        if not self.live:
            message = "%(source)s was interrupted: %(reason)s"
            log_event(log, logging.WARNING, "source_broken", message, source=self.name, reason=error.strerror)

    def _check_pass(self, frames: int, seconds: float, *, again: bool) -> None:
        """Check whether a pass of so many frames, `seconds` long, was what the file promises. Raises SourceError."""
        if not frames:
            raise SourceError(
                f"No picture in {self.name} can be decoded",
                f"it claims to be {self._video.codec_context.name}",
                "The file or stream is damaged, or its sender's settings are wrong.",
            )
        promised = (self._container.duration or 0) / av.time_base
        if self.live:
            log_event(log, logging.WARNING, "source_ended", "%(source)s has ended", source=self.name)
        elif not again and seconds + 1 < promised:
            message = "%(source)s ends after %(seconds).1f of %(promised_s).1f s: it seems to be truncated"
            log_event(
                log, logging.WARNING, "source_cut_off", message, source=self.name, seconds=seconds, promised_s=promised
            )


def _rows(plane: VideoPlane) -> Image:
    """Return a view [H, W, 3] of a packed plane, which it keeps alive; contiguous if its rows have no padding."""
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : 3 * plane.width].reshape(plane.height, plane.width, 3)
