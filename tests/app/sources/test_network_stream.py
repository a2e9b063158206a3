"""Network streams: real ones, served on this machine."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.context import Flags, ThreadType

from app.errors import SourceError
from app.sources.video import VideoSource
from tests.support.clips import encode, jpeg, multipart, number, numbers, picture, send, serve


def test_an_http_camera_is_live_and_timed_by_arrival(caplog: pytest.LogCaptureFixture) -> None:
    taken = threading.Event()  # the first picture, of those that are read while opening

    def camera() -> Iterator[bytes]:
        for i in range(12):
            yield jpeg(i)
            if i == 5:
                taken.wait(5)
            time.sleep(0.1)

    with serve(lambda handler: multipart(handler, camera())) as address:
        source = VideoSource(address)
        assert (source.live, source.paced, source.fps) == (True, True, 0.0)
        frames = []
        for frame in source:
            taken.set()
            frames.append(frame)
    assert [number(frame.image) for frame in frames] == list(range(12))
    assert frames[-1].position > 0.5  # 6 pauses at least; FFmpeg's own times say 0.44
    assert np.allclose(np.diff([f.captured for f in frames[3:]]), np.diff([f.position for f in frames[3:]]))
    assert "has ended" in caplog.text


def test_an_http_camera_can_be_closed_from_another_thread() -> None:
    def camera() -> Iterator[bytes]:
        for i in range(2000):
            yield jpeg(i % 50)
            time.sleep(0.02)

    with serve(lambda handler: multipart(handler, camera())) as address:
        source = VideoSource(address)
        begun = threading.Event()

        def close() -> None:
            if begun.wait(60):
                source.close()

        closer = threading.Thread(target=close)
        closer.start()
        seen = 0
        for _frame in source:
            seen += 1
            begun.set()
        closer.join()
    assert 0 < seen < 2000


@pytest.mark.integration
def test_a_file_on_a_web_server_is_a_file(tmp_path: Path) -> None:
    data = encode(tmp_path / "x.mkv", 20).read_bytes()

    with serve(lambda handler: send(handler, data)) as address:
        source = VideoSource(address + "x.mkv")
        assert (source.live, source.paced) == (False, False)
        assert numbers(source) == list(range(20))


def test_servers_that_refuse_or_keep_silent_are_told_apart() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with pytest.raises(SourceError, match="refuses the connection"):
            VideoSource(f"http://127.0.0.1:{port}/")
        listener.listen()
        for scheme in ("http", "rtsp"):
            began = time.monotonic()
            with pytest.raises(SourceError, match="does not answer"):
                VideoSource(f"{scheme}://127.0.0.1:{port}/", limit=0.4)
            assert time.monotonic() - began < 10
    with pytest.raises(SourceError, match="does not answer"):
        VideoSource(f"udp://127.0.0.1:{port}", limit=0.4)


def test_answers_that_are_no_stream_are_explained() -> None:
    with serve(lambda handler: handler.send_error(404)) as address, pytest.raises(SourceError, match="no such stream"):
        VideoSource(address)
    with serve(lambda handler: handler.send_error(401)) as address, pytest.raises(SourceError, match="password"):
        VideoSource(address)

    page = b"<html>Welcome</html>" * 100
    with serve(lambda handler: send(handler, page)) as address, pytest.raises(SourceError, match="sends no video"):
        VideoSource(address)


def test_a_camera_that_falls_silent_is_an_error() -> None:
    over = threading.Event()

    def camera() -> Iterator[bytes]:
        for i in range(10):
            yield jpeg(i)
        over.wait(60)

    with serve(lambda handler: multipart(handler, camera())) as address:
        source = VideoSource(address, read_timeout_s=3.0)
        seen: list[int] = []
        with pytest.raises(SourceError, match="stopped answering"):
            for frame in source:
                seen.append(number(frame.image))
        over.set()
    assert seen == list(range(10))


def test_a_camera_that_sends_only_damage_is_an_error() -> None:
    def camera() -> Iterator[bytes]:
        yield from (jpeg(i) for i in range(10))
        for _ in range(1000):
            yield b"\xff\xd8\xff\xe0" + bytes(100)
            time.sleep(0.02)

    with serve(lambda handler: multipart(handler, camera())) as address:
        source = VideoSource(address, read_timeout_s=2.0)
        with pytest.raises(SourceError, match="no pictures"):
            for _frame in source:
                pass


@pytest.mark.integration
def test_a_udp_stream_is_live_and_ends_when_nothing_comes(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    over = threading.Event()

    def broadcast() -> None:
        address = f"udp://127.0.0.1:{port}?pkt_size=1316"
        with av.open(address, "w", format="mpegts") as output:
            video = output.add_stream("libx264", rate=25, options={"tune": "zerolatency", "g": "5"})
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            for i in range(1000):
                output.mux(video.encode(av.VideoFrame.from_ndarray(picture(i % 50), "bgr24")))
                if over.wait(0.02):
                    return

    sender = threading.Thread(target=broadcast)
    sender.start()
    try:
        source = VideoSource(f"udp://127.0.0.1:{port}", read_timeout_s=1.0)
        assert source.live and source.paced
        frames = []
        for frame in source:
            frames.append(frame)
            if len(frames) == 40:
                codec = source._video.codec_context
                over.set()
    finally:
        over.set()
        sender.join()
    assert len(frames) >= 40 and "has ended" in caplog.text
    # Frame threads, or a decoder that waits for pictures to put in order, would hold some back for good.
    assert codec.thread_type == ThreadType.SLICE and codec.flags & Flags.low_delay
    steps = np.diff([number(frame.image) for frame in frames]) % 50
    assert (steps == 1).mean() > 0.9
    assert np.allclose(np.diff([frame.position for frame in frames]).min(), 0.04, atol=0.001)


@pytest.mark.integration
def test_a_sender_that_is_started_anew_makes_no_gap_of_a_day(tmp_path: Path) -> None:
    running, anew = range(3_600_000, 3_601_000, 40), range(0, 1000, 40)
    parts = [encode(tmp_path / f"{ticks[0]}.ts", 25, ticks=ticks).read_bytes() for ticks in (running, anew)]

    def relay(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(b"".join(parts))

    with serve(relay) as address:
        source = VideoSource(address)
        assert source.live
        frames = list(source)
    assert [number(frame.image) for frame in frames] == [*range(25), *range(25)]
    assert np.allclose(np.diff([frame.position for frame in frames]), 0.04, atol=0.001)


def test_passwords_stay_out_of_logs() -> None:
    with pytest.raises(SourceError) as error:
        VideoSource("http://me:s3cret@127.0.0.1:1/")
    assert "s3cret" not in str(error.value)
