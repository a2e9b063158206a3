"""A board's own H.264 encoder through GStreamer, in a process of its own: pictures go in by a pipe, H.264 comes out.

This needs no binding and keeps the true times (a pipeline would make up even ones), and a driver that crashes or hangs
takes a segment with it at most, not the picture.
"""

from __future__ import annotations

import contextlib
import functools
import io
import queue
import shutil
import subprocess
import threading
import time
from collections import deque
from fractions import Fraction
from typing import IO, Any

import av
import numpy as np

from app.errors import SinkError
from app.system import board

LAUNCH = "gst-launch-1.0"
TIMEOUT_S = 5.0
"""What the encoder may take for one picture, and to start or to finish."""
TIME_BASE = Fraction(1, 90000)

# What makes H.264 of I420 pictures. On a Jetson: NVIDIA's "Accelerated GStreamer" guide, "Supported H.264 Encoder".
PIPELINES = {
    "nvv4l2h264enc": "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! nvv4l2h264enc bitrate={bits}"
    " iframeinterval={gop} idrinterval={gop} insert-sps-pps=true maxperf-enable=true",
    "x264enc": "videoconvert ! x264enc bitrate={kbits} key-int-max={gop} tune=zerolatency speed-preset=veryfast",
}


def choose(name: str) -> str:
    """Return the encoder that `name` stands for; `auto` goes by the board's model, since probing hung some boards."""
    if name != "auto":
        return name
    model = board.model()
    # Of the Jetsons the Orin Nano alone has none (Jetson Linux Developer Guide, "Software Encode in Orin Nano").
    has_encoder = "Jetson" in model and "Orin Nano" not in model
    return "nvv4l2h264enc" if has_encoder and shutil.which(LAUNCH) else "libx264"


@functools.cache  # not of failures: it may be installed meanwhile
def check(name: str) -> None:
    """Raise SinkError if GStreamer or its encoder `name` is not installed."""
    inspect = shutil.which("gst-inspect-1.0")
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        if (
            inspect
            and subprocess.run([inspect, "--exists", name], timeout=4 * TIMEOUT_S, capture_output=True).returncode == 0
        ):
            return
    raise SinkError(
        f"The encoder {name} cannot be used on this machine",
        "GStreamer has no such element" if inspect else "GStreamer's tools are not installed",
        "Choose another with --encoder; libx264 needs no hardware.",
    )


class GstStream:
    """Stands in for PyAV's stream of an output container, as far as a Recorder needs one. Recorder thread only."""

    def __init__(
        self, container: Any, encoder: str, size: tuple[int, int], fps: float, timeout_s: float = TIMEOUT_S
    ) -> None:
        """Start `encoder` for pictures of `size` (width, height), even numbers, that go into `container`.

        `timeout_s`: what it may take for one picture, and to finish.
        """
        self._timeout_s = timeout_s
        self.width, self.height = size
        rate, bits = Fraction(fps).limit_denominator(1001), int(size[0] * size[1] * fps * 0.1)
        caps = {"bits": bits, "kbits": max(1, bits // 1000), "gop": max(1, round(fps))}
        text = (
            f"-q fdsrc fd=0 blocksize={size[0] * size[1] * 3 // 2}"
            f" ! rawvideoparse format=i420 width={size[0]} height={size[1]}"
            f" framerate={rate.numerator}/{rate.denominator}"
            f" colorimetry=bt709 ! {PIPELINES[encoder].format(**caps)}"
            " ! h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au"
            " ! fdsink fd=1 sync=false"
        )
        self._process = subprocess.Popen(
            [LAUNCH, *text.split()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us: the encoder ends when its input does
        )
        self._container = container
        self._stream: Any = None
        self._parser: Any = av.CodecContext.create("h264", "r")
        self._times: deque[int] = deque()
        self._packets: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._feed: queue.Queue[bytes | None] = queue.Queue(2)
        assert self._process.stdin is not None and self._process.stdout is not None  # as asked for above
        self._threads = [
            threading.Thread(target=self._write, args=(self._process.stdin,), name="encoder in", daemon=True),
            threading.Thread(target=self._read, args=(self._process.stdout,), name="encoder out", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def encode(self, frame: av.VideoFrame | None) -> list[Any]:
        """Add a yuv420p `frame` and return the packets that are ready; with None, the rest of them.

        Raises SinkError if the encoder has ended, or has not taken a picture in time.
        """
        if frame is not None:
            self._times.append(int(frame.pts or 0))
            self._put(np.ascontiguousarray(frame.to_ndarray()).tobytes())
        else:
            self._put(None)
            self._threads[1].join(self._timeout_s)
        ready = []
        while not self._packets.empty():
            ready.append(self._stamped(self._packets.get()))
        if frame is None:
            self.close()
        return ready

    def _put(self, data: bytes | None) -> None:
        until = time.monotonic() + self._timeout_s
        why = f"it has not taken a picture for {self._timeout_s:g} s"
        while time.monotonic() < until:
            if (status := self._process.poll()) is not None:
                why = f"{LAUNCH} has ended with status {status}"
                break
            with contextlib.suppress(queue.Full):
                self._feed.put(data, timeout=0.1)
                return
        self.close()
        raise SinkError("The encoder has failed", why)

    def close(self) -> None:
        """End the process, whatever it is doing. Idempotent."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._timeout_s if not self._threads[0].is_alive() else 0.1)
        self._process.kill()
        self._process.wait(self._timeout_s)
        with contextlib.suppress(queue.Full):
            self._feed.put_nowait(None)

    def _stamped(self, packet: Any) -> Any:
        """Give `packet` its time: an encoder without B-frames returns packets in the order of the pictures."""
        if self._stream is None:
            # The muxer wants the parameter sets before the first picture; a demuxer finds them in it.
            with av.open(io.BytesIO(bytes(packet)), format="h264") as first:
                self._stream = self._container.add_stream_from_template(first.streams.video[0])
            self._stream.time_base = TIME_BASE
        packet.stream, packet.time_base = self._stream, TIME_BASE
        packet.pts = packet.dts = self._times.popleft()
        return packet

    def _write(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError), pipe:
            while (data := self._feed.get()) is not None:
                pipe.write(data)
                pipe.flush()

    def _read(self, pipe: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError), pipe:
            while data := pipe.read1(65536):  # type: ignore[attr-defined] # of the BufferedReader that Popen makes
                for packet in self._parser.parse(data):
                    self._packets.put(packet)
            for packet in self._parser.parse(b"") or []:
                self._packets.put(packet)
