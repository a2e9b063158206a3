"""Small real videos, made with PyAV, whose frames tell their number: frame i is all of level(i)."""

from __future__ import annotations

import contextlib
import functools
import http.server
import socketserver
import threading
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

from app.pipeline.frame import Frame
from app.pipeline.protocols import Source
from engines.base import Image

STEP = 4


def level(index: int) -> int:
    """The brightness of frame `index`, for up to 50 frames."""
    return 30 + STEP * index


def picture(index: int, size: tuple[int, int] = (64, 48)) -> Image:
    return np.full((size[1], size[0], 3), level(index), np.uint8)


def number(image: Image) -> int:
    """Which frame `image` is. By its green, which FFmpeg's conversions to YUV and back keep best."""
    return round((float(image[:, :, 1].mean()) - 28.7) / STEP)


def numbers(source: Source) -> list[int]:
    return [number(frame.image) for frame in source]


def encode(
    path: Path | str,
    count: int = 12,
    *,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    form: str | None = None,
    fps: int = 25,
    ticks: Sequence[int] | None = None,
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
) -> Path:
    """A video of `count` frames; `ticks` are their times in milliseconds, by default even ones."""
    container = av.open(str(path), "w", format=form)
    with container:
        fine = {"crf": "6"} if codec == "libx264" else {}  # so that levels can be told apart
        stream = cast("VideoStream", container.add_stream(codec, rate=fps, options=fine | (options or {})))
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        if ticks is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(picture(i, size), "bgr24")
            frame.pts = i if ticks is None else ticks[i]
            frame.time_base = Fraction(1, fps) if ticks is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Path(path)


def take(source: Source, count: int) -> list[Frame]:
    """The first `count` frames; the source is closed then, and has to end by itself."""
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == count:
            source.close()
    return frames


def send(handler: http.server.BaseHTTPRequestHandler, data: bytes) -> None:
    """Answer with a whole file."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def blot(data: bytes, which: slice) -> bytes:
    """`data` with some of the JPEG pictures in it overwritten by zeros, to the last byte but their size kept."""
    blotted, starts = bytearray(data), [at for at in range(len(data)) if data.startswith(b"\xff\xd8\xff", at)]
    for at in starts[which]:
        end = data.index(b"\xff\xd9", at) + 2
        blotted[at:end] = bytes(end - at)
    return bytes(blotted)


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


@contextlib.contextmanager
def serve(answer: Callable[[http.server.BaseHTTPRequestHandler], None], port: int = 0) -> Iterator[str]:
    """A web server on this machine that gives `answer` to every GET; its address. `port` 0: any that is free."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):  # the client may go
                answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with _Server(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@functools.lru_cache
def jpeg(index: int) -> bytes:
    return cv2.imencode(".jpg", picture(index))[1].tobytes()


def multipart(handler: http.server.BaseHTTPRequestHandler, parts: Iterator[bytes]) -> None:
    """Answer as an MJPEG camera does: one part for each picture."""
    handler.send_response(200)
    handler.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
    handler.end_headers()
    for part in parts:
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(part)}\r\n\r\n"
        handler.wfile.write(head.encode() + part + b"\r\n")
        handler.wfile.flush()
