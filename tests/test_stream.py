"""Video files and network streams: real ones, made with PyAV and served on this machine."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from clips import blot, encode, jpeg, multipart, number, numbers, picture, send, serve, take
from hypothesis import given
from hypothesis import strategies as st

from app.sources import SourceError, container, stream
from app.sources.container import shown
from app.sources.stream import Stream
from app.sources.timeline import JITTER, Timeline


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.mp4", {"codec": "libx264", "options": {"bf": "3"}}),
        ("x.mkv", {"codec": "libx264"}),
        ("x.ts", {"codec": "libx264", "options": {"bf": "2"}}),
        ("x.avi", {"codec": "mjpeg", "pixels": "yuvj420p"}),
        ("x.h264", {"codec": "libx264", "form": "h264", "options": {"bf": "0"}}),
    ],
)
def test_every_frame_of_a_file_comes_out_in_order(tmp_path: Path, name: str, options: dict[str, object]) -> None:
    source = Stream(encode(tmp_path / name, 30, **options))  # type: ignore[arg-type] # of several types
    assert (source.live, source.paced, source.name) == (False, False, name)
    frames = list(source)
    assert [number(frame.image) for frame in frames] == list(range(30))
    assert [frame.index for frame in frames] == list(range(30))
    assert np.allclose([frame.position for frame in frames], np.arange(30) / 25, atol=0.001)
    assert source.fps == 25
    assert all(frame.size == (64, 48) and frame.image.flags.c_contiguous for frame in frames)


def test_a_variable_rate_is_kept(tmp_path: Path) -> None:
    ticks = [0, 40, 50, 200, 1000, 1001, 1500]
    source = Stream(encode(tmp_path / "vfr.mkv", len(ticks), ticks=ticks))
    assert [round(frame.position * 1000) for frame in source] == ticks


@pytest.mark.parametrize("kind", [("h264", "h264"), ("ts", "mpegts")])
def test_a_size_that_changes_midway_comes_as_it_is(tmp_path: Path, kind: tuple[str, str]) -> None:
    suffix, form = kind
    one = encode(tmp_path / f"one.{suffix}", 5, form=form, size=(64, 48))
    two = encode(tmp_path / f"two.{suffix}", 5, form=form, size=(96, 80))
    both = tmp_path / f"both.{suffix}"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    frames = list(Stream(both))
    assert [frame.size for frame in frames] == [(64, 48)] * 5 + [(96, 80)] * 5
    assert [number(frame.image) for frame in frames] == [*range(5), *range(5)]
    positions = [frame.position for frame in frames]
    assert positions == sorted(set(positions))


def test_odd_sizes_are_copied_into_buffers_that_come_back(tmp_path: Path) -> None:
    source = Stream(encode(tmp_path / "odd.mkv", 6, size=(35, 17), codec="ffv1", pixels="bgr0"))
    seen, places = [], set()
    for frame in source:
        seen.append(number(frame.image))
        assert frame.image.shape == (17, 35, 3) and frame.image.flags.c_contiguous
        places.add(frame.image.ctypes.data)
        frame.release()
    assert seen == list(range(6))
    assert len(places) == 1


def test_uncompressed_video_stored_bottom_up_is_upright(tmp_path: Path) -> None:
    shaded = np.repeat(np.arange(48, dtype=np.uint8)[:, None, None] * 5, 64, 1) + np.array([0, 5, 10], np.uint8)
    path = tmp_path / "raw.avi"
    with av.open(str(path), "w") as output:
        video = output.add_stream("rawvideo", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "bgr24"
        output.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(shaded), "bgr24")))
        output.mux(video.encode(None))
    (frame,) = list(Stream(path))
    assert np.array_equal(frame.image, shaded)


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv444p"])
def test_colours_survive(tmp_path: Path, pixels: str) -> None:
    path, wanted = tmp_path / "c.mkv", (60, 110, 200)
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"crf": "4"})
        video.width, video.height, video.pix_fmt = 64, 64, pixels
        patch = np.full((64, 64, 3), wanted, np.uint8)
        output.mux(video.encode(av.VideoFrame.from_ndarray(patch, "bgr24")))
        output.mux(video.encode(None))
    (frame,) = list(Stream(path))
    assert np.abs(frame.image.reshape(-1, 3).mean(0) - wanted).max() < 4


def test_a_loop_goes_on_in_time(tmp_path: Path) -> None:
    source = Stream(encode(tmp_path / "x.mkv", 5), loop=True)
    frames = take(source, 14)
    assert [number(frame.image) for frame in frames] == [*range(5), *range(5), *range(4)]
    assert np.allclose([frame.position for frame in frames], np.arange(14) / 25, atol=0.002)
    assert [frame.index for frame in frames] == list(range(14))


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    encode(tmp_path / "holiday.mkv", 1)
    with pytest.raises(SourceError) as error:
        Stream(tmp_path / "holidays.mkv")
    assert str(tmp_path / "holidays.mkv") in error.value.facts and "holiday.mkv" in error.value.fix
    with pytest.raises(SourceError, match="no file") as error:
        Stream(tmp_path / "none/x.mkv")
    assert f"{tmp_path / 'none'} does not exist" in error.value.fix


def test_files_that_are_no_videos_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(SourceError, match="is empty"):
        Stream(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("Dear diary,\n" * 500)
    with pytest.raises(SourceError, match="not a video") as error:
        Stream(tmp_path / "text.mp4")
    assert "Dear diary" in error.value.facts
    (tmp_path / "text.txt").write_text("Dear diary,\n" * 500)  # FFmpeg would draw this one
    with pytest.raises(SourceError):
        Stream(tmp_path / "text.txt")
    with av.open(str(tmp_path / "sound.mkv"), "w") as output:
        sound = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        silence.sample_rate = 8000
        output.mux(sound.encode(silence))
    with pytest.raises(SourceError, match="no video") as error:
        Stream(tmp_path / "sound.mkv")
    assert "pcm_s16le" in error.value.facts


def test_an_mp4_cut_off_before_its_index_is_named_as_such(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mp4", 40).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="cut off") as error:
        Stream(tmp_path / "cut.mp4")
    assert "moov" in error.value.facts


def test_a_matroska_cut_midway_plays_to_where_it_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = encode(tmp_path / "whole.mkv", 50, fps=10, options={"g": "5"}).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 3 // 4])
    seen = numbers(Stream(tmp_path / "cut.mkv"))
    assert seen == list(range(len(seen))) and 5 < len(seen) < 45
    assert "cut off" in caplog.text
    caplog.clear()
    assert len(numbers(Stream(tmp_path / "whole.mkv"))) == 50
    assert caplog.text == ""


def test_damaged_frames_are_skipped_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = encode(tmp_path / "x.avi", 20, codec="mjpeg", pixels="yuvj420p").read_bytes()
    (tmp_path / "bad.avi").write_bytes(blot(data, slice(5, 10)))
    assert numbers(Stream(tmp_path / "bad.avi")) == [*range(5), *range(10, 20)]
    assert sum("cannot be decoded" in record.message for record in caplog.records) == 1


def test_nothing_but_damage_is_an_error(tmp_path: Path) -> None:
    data = encode(tmp_path / "x.avi", 4, codec="mjpeg", pixels="yuvj420p").read_bytes()
    (tmp_path / "x.avi").write_bytes(blot(data, slice(None)))
    source = Stream(tmp_path / "x.avi", loop=True)
    with pytest.raises(SourceError, match="No picture in "):
        list(source)


def test_close_is_final_and_may_come_twice_and_early(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.mkv", 5)
    source = Stream(path)
    source.close()
    source.close()
    assert list(source) == []
    source = Stream(path, loop=True)
    ended = threading.Event()

    def play() -> None:
        for _frame in source:
            pass
        ended.set()

    thread = threading.Thread(target=play)
    thread.start()
    time.sleep(0.1)
    source.close()
    assert ended.wait(20)
    thread.join()


def test_an_http_camera_is_live_and_timed_by_arrival(caplog: pytest.LogCaptureFixture) -> None:
    def camera() -> Iterator[bytes]:
        for i in range(12):
            yield jpeg(i)
            time.sleep(0.1)

    with serve(lambda handler: multipart(handler, camera())) as address:
        source = Stream(address)
        assert (source.live, source.paced, source.fps) == (True, True, 0.0)
        frames = list(source)
    assert [number(frame.image) for frame in frames] == list(range(12))
    assert frames[-1].position > 0.6  # 11 pauses, less what was read while opening; FFmpeg's own times say 0.44
    assert np.allclose(np.diff([f.captured for f in frames[3:]]), np.diff([f.position for f in frames[3:]]))
    assert "has ended" in caplog.text


def test_an_http_camera_can_be_closed_from_another_thread() -> None:
    def camera() -> Iterator[bytes]:
        for i in range(2000):
            yield jpeg(i % 50)
            time.sleep(0.02)

    with serve(lambda handler: multipart(handler, camera())) as address:
        source = Stream(address)
        closer = threading.Timer(0.5, source.close)
        closer.start()
        seen = len(list(source))
        closer.join()
    assert 0 < seen < 2000


def test_a_file_on_a_web_server_is_a_file(tmp_path: Path) -> None:
    data = encode(tmp_path / "x.mkv", 20).read_bytes()

    with serve(lambda handler: send(handler, data)) as address:
        source = Stream(address + "x.mkv")
        assert (source.live, source.paced) == (False, False)
        assert numbers(source) == list(range(20))


def test_servers_that_refuse_or_keep_silent_are_told_apart() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with pytest.raises(SourceError, match="refuses the connection"):
            Stream(f"http://127.0.0.1:{port}/")
        listener.listen()
        for scheme in ("http", "rtsp"):
            began = time.monotonic()
            with pytest.raises(SourceError, match="does not answer"):
                Stream(f"{scheme}://127.0.0.1:{port}/", limit=0.4)
            assert time.monotonic() - began < 10
    with pytest.raises(SourceError, match="does not answer"):
        Stream(f"udp://127.0.0.1:{port}", limit=0.4)


def test_answers_that_are_no_stream_are_explained() -> None:
    with serve(lambda handler: handler.send_error(404)) as address, pytest.raises(SourceError, match="no such stream"):
        Stream(address)
    with serve(lambda handler: handler.send_error(401)) as address, pytest.raises(SourceError, match="password"):
        Stream(address)

    page = b"<html>Welcome</html>" * 100
    with serve(lambda handler: send(handler, page)) as address, pytest.raises(SourceError, match="sends no video"):
        Stream(address)


def test_a_camera_that_falls_silent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "READ_LIMIT", 0.5)
    over = threading.Event()

    def camera() -> Iterator[bytes]:
        for i in range(10):
            yield jpeg(i)
        over.wait(60)

    with serve(lambda handler: multipart(handler, camera())) as address:
        source = Stream(address)
        seen: list[int] = []
        with pytest.raises(SourceError, match="stopped answering"):
            for frame in source:
                seen.append(number(frame.image))
        over.set()
    assert seen == list(range(10))


def test_a_camera_that_sends_only_damage_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "READ_LIMIT", 0.5)

    def camera() -> Iterator[bytes]:
        yield from (jpeg(i) for i in range(10))
        for _ in range(1000):
            yield b"\xff\xd8\xff\xe0" + bytes(100)
            time.sleep(0.02)

    with serve(lambda handler: multipart(handler, camera())) as address:
        source = Stream(address)
        with pytest.raises(SourceError, match="no pictures"):
            for _frame in source:
                pass


def test_a_udp_stream_is_live_and_ends_when_nothing_comes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(container, "READ_LIMIT", 1.0)
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
        source = Stream(f"udp://127.0.0.1:{port}")
        assert source.live and source.paced
        frames = []
        for frame in source:
            frames.append(frame)
            if len(frames) == 40:
                over.set()
    finally:
        over.set()
        sender.join()
    assert len(frames) >= 40 and "has ended" in caplog.text
    steps = np.diff([number(frame.image) for frame in frames]) % 50
    assert (steps == 1).mean() > 0.9
    assert np.allclose(np.diff([frame.position for frame in frames]).min(), 0.04, atol=0.001)


def test_passwords_stay_out_of_logs() -> None:
    assert shown("rtsp://me:s3cret@10.0.0.1:554/a@b") == "rtsp://10.0.0.1:554/a@b"
    with pytest.raises(SourceError) as error:
        Stream("http://me:s3cret@127.0.0.1:1/")
    assert "s3cret" not in str(error.value)


stamps = st.lists(st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.floats(-100, 100), max_size=50)


@given(stamps=stamps, step=st.floats(0.001, 2))
def test_positions_grow_whatever_the_stamps(stamps: list[float | None], step: float) -> None:
    timeline = Timeline(step)
    positions = [timeline.at(stamp) for stamp in stamps]
    assert positions == sorted(set(positions))
    assert positions[:1] == [0.0][: len(positions)]


@given(gaps=st.lists(st.floats(0.001, 10), max_size=30), start=st.floats(-1e4, 1e4))
def test_good_stamps_are_kept(gaps: list[float], start: float) -> None:
    good = np.cumsum([start, *gaps])
    timeline = Timeline(0.04)
    assert np.allclose([timeline.at(float(stamp)) for stamp in good], good - start, atol=1e-6)


def test_a_clock_that_begins_anew_goes_on() -> None:
    timeline = Timeline(0.5)
    seen = [timeline.at(stamp) for stamp in (10.0, 10.5, None, 11.5, 0.0, 0.25, 0.25 - JITTER / 2, 2.0)]
    assert seen == [0.0, 0.5, 1.0, 1.5, 2.0, 2.25, 2.75, 4.0]
    timeline.restart()
    assert timeline.at(10.0) == 4.5
