"""Video files: real ones, made with PyAV."""

from __future__ import annotations

import gc
import struct
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from app.errors import SourceError
from app.sources.video import VideoSource
from tests.support.clips import blot, encode, number, numbers, take

pytestmark = [pytest.mark.media, pytest.mark.integration]

PAIRS = [(1, 1), (1, -1), (-1, 1), (-1, -1)]


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
    source = VideoSource(encode(tmp_path / name, 30, **options))  # type: ignore[arg-type] # of several types
    assert (source.live, source.paced, source.name) == (False, False, name)
    frames = list(source)
    assert [number(frame.image) for frame in frames] == list(range(30))
    assert [frame.index for frame in frames] == list(range(30))
    assert np.allclose([frame.position for frame in frames], np.arange(30) / 25, atol=0.001)
    assert source.fps == 25
    assert all(frame.size == (64, 48) and frame.image.flags.c_contiguous for frame in frames)


def test_a_variable_rate_is_kept(tmp_path: Path) -> None:
    ticks = [0, 40, 50, 200, 1000, 1001, 1500]
    source = VideoSource(encode(tmp_path / "vfr.mkv", len(ticks), ticks=ticks))
    assert [round(frame.position * 1000) for frame in source] == ticks


@pytest.mark.parametrize("kind", [("h264", "h264"), ("ts", "mpegts")])
def test_a_size_that_changes_midway_comes_as_it_is(tmp_path: Path, kind: tuple[str, str]) -> None:
    suffix, form = kind
    one = encode(tmp_path / f"one.{suffix}", 5, form=form, size=(64, 48))
    two = encode(tmp_path / f"two.{suffix}", 5, form=form, size=(96, 80))
    both = tmp_path / f"both.{suffix}"
    both.write_bytes(one.read_bytes() + two.read_bytes())
    frames = list(VideoSource(both))
    assert [frame.size for frame in frames] == [(64, 48)] * 5 + [(96, 80)] * 5
    assert [number(frame.image) for frame in frames] == [*range(5), *range(5)]
    positions = [frame.position for frame in frames]
    assert positions == sorted(set(positions))


def test_odd_sizes_are_copied_into_buffers_that_come_back(tmp_path: Path) -> None:
    source = VideoSource(encode(tmp_path / "odd.mkv", 6, size=(35, 17), codec="ffv1", pixels="bgr0"))
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
    with av.open(str(path), "w", options={"flipped_raw_rgb": "1"}) as output:  # it stores them top down by default
        video = output.add_stream("rawvideo", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "bgr24"
        output.mux(video.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(shaded[::-1]), "bgr24")))
        output.mux(video.encode(None))
    (frame,) = list(VideoSource(path))
    assert np.array_equal(frame.image, shaded)


@pytest.mark.parametrize("size", [(64, 48), (70, 46)])
@pytest.mark.parametrize("matrix", [(a, 0, 0, d) for a, d in PAIRS] + [(0, b, c, 0) for b, c in PAIRS])
def test_a_film_is_turned_as_it_was_filmed(tmp_path: Path, size: tuple[int, int], matrix: tuple[int, ...]) -> None:
    (width, height), path = size, tmp_path / "x.mp4"
    quarters = {(x, y): 40 + 60 * number for number, (x, y) in enumerate(PAIRS)}  # levels, by where they lie
    image = np.zeros((height, width, 3), np.uint8)
    for (x, y), level in quarters.items():
        top, left = (0 if y < 0 else height // 2), (0 if x < 0 else width // 2)
        image[top : top + height // 2, left : left + width // 2] = level
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"crf": "4"})
        video.width, video.height, video.pix_fmt = width, height, "yuv444p"
        output.mux(video.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        output.mux(video.encode(None))
    a, b, c, d = matrix
    data = bytearray(path.read_bytes())
    at = data.index(struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30), data.index(b"tkhd"))
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    (frame,) = list(VideoSource(path))
    assert frame.size == (size if a else (height, width)) and frame.image.flags.c_contiguous
    for (x, y), level in quarters.items():
        shown = a * x + c * y, b * x + d * y  # ISO/IEC 14496-12, 6.2.2
        column, row = (whole * (2 + place) // 4 for whole, place in zip(frame.size, shown, strict=True))
        assert np.abs(frame.image[row, column].astype(int) - level).max() < 4


@pytest.mark.parametrize("pixels", ["yuv420p", "yuvj420p", "yuv444p"])
def test_colours_survive(tmp_path: Path, pixels: str) -> None:
    path, wanted = tmp_path / "c.mkv", (60, 110, 200)
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=25, options={"crf": "4"})
        video.width, video.height, video.pix_fmt = 64, 64, pixels
        patch = np.full((64, 64, 3), wanted, np.uint8)
        output.mux(video.encode(av.VideoFrame.from_ndarray(patch, "bgr24")))
        output.mux(video.encode(None))
    (frame,) = list(VideoSource(path))
    assert np.abs(frame.image.reshape(-1, 3).mean(0) - wanted).max() < 4


def test_a_loop_goes_on_in_time(tmp_path: Path) -> None:
    source = VideoSource(encode(tmp_path / "x.mkv", 5), loop=True)
    frames = take(source, 14)
    assert [number(frame.image) for frame in frames] == [*range(5), *range(5), *range(4)]
    assert np.allclose([frame.position for frame in frames], np.arange(14) / 25, atol=0.002)
    assert [frame.index for frame in frames] == list(range(14))


def test_a_short_loop_keeps_its_rhythm(tmp_path: Path) -> None:
    ticks = [0, 40, 50, 200, 210]
    source = VideoSource(encode(tmp_path / "vfr.mkv", len(ticks), ticks=ticks), loop=True)
    steps = np.diff([frame.position for frame in take(source, 10)])
    assert np.allclose(steps[5:], np.diff(ticks) / 1000, atol=0.002) and steps[4] > 0


def test_pictures_that_are_done_with_wait_for_no_collector(tmp_path: Path) -> None:
    source = VideoSource(encode(tmp_path / "x.mkv", 40))
    gc.collect()
    gc.disable()  # it comes by itself, but when there may be hundreds of them, of megabytes each
    try:
        for frame in source:
            frame.release()
        assert sum(isinstance(one, VideoFrame) for one in gc.get_objects()) < 10
    finally:
        gc.enable()


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    encode(tmp_path / "holiday.mkv", 1)
    with pytest.raises(SourceError) as error:
        VideoSource(tmp_path / "holidays.mkv")
    assert str(tmp_path / "holidays.mkv") in error.value.facts and "holiday.mkv" in error.value.fix
    with pytest.raises(SourceError, match="no file") as error:
        VideoSource(tmp_path / "none/x.mkv")
    assert f"{tmp_path / 'none'} does not exist" in error.value.fix


def test_files_that_are_no_videos_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(SourceError, match="is empty"):
        VideoSource(tmp_path / "empty.mp4")
    (tmp_path / "text.mp4").write_text("Dear diary,\n" * 500)
    with pytest.raises(SourceError, match="not a video") as error:
        VideoSource(tmp_path / "text.mp4")
    assert "Dear diary" in error.value.facts
    (tmp_path / "text.txt").write_text("Dear diary,\n" * 500)  # FFmpeg would draw this one
    with pytest.raises(SourceError):
        VideoSource(tmp_path / "text.txt")
    with av.open(str(tmp_path / "sound.mkv"), "w") as output:
        sound = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        silence.sample_rate = 8000
        output.mux(sound.encode(silence))
    with pytest.raises(SourceError, match="no video") as error:
        VideoSource(tmp_path / "sound.mkv")
    assert "pcm_s16le" in error.value.facts


def test_an_mp4_cut_off_before_its_index_is_named_as_such(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mp4", 40).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="truncated") as error:
        VideoSource(tmp_path / "cut.mp4")
    assert "moov" in error.value.facts


def test_a_matroska_cut_midway_plays_to_where_it_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = encode(tmp_path / "whole.mkv", 50, fps=10, options={"g": "5"}).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 3 // 4])
    seen = numbers(VideoSource(tmp_path / "cut.mkv"))
    assert seen == list(range(len(seen))) and 5 < len(seen) < 45
    assert "truncated" in caplog.text
    caplog.clear()
    assert len(numbers(VideoSource(tmp_path / "whole.mkv"))) == 50
    assert caplog.text == ""


def test_damaged_frames_are_skipped_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = encode(tmp_path / "x.avi", 20, codec="mjpeg", pixels="yuvj420p").read_bytes()
    (tmp_path / "bad.avi").write_bytes(blot(data, slice(5, 10)))
    assert numbers(VideoSource(tmp_path / "bad.avi")) == [*range(5), *range(10, 20)]
    assert sum("cannot be decoded" in record.message for record in caplog.records) == 1


def test_nothing_but_damage_is_an_error(tmp_path: Path) -> None:
    data = encode(tmp_path / "x.avi", 4, codec="mjpeg", pixels="yuvj420p").read_bytes()
    (tmp_path / "x.avi").write_bytes(blot(data, slice(None)))
    source = VideoSource(tmp_path / "x.avi", loop=True)
    with pytest.raises(SourceError, match="No picture in "):
        list(source)


def test_close_is_final_and_may_come_twice_and_early(tmp_path: Path) -> None:
    path = encode(tmp_path / "x.mkv", 5)
    source = VideoSource(path)
    source.close()
    source.close()
    assert list(source) == []
    source = VideoSource(path, loop=True)
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


def test_recordings_of_a_broadcast_one_after_the_other_play_without_a_pause(tmp_path: Path) -> None:
    """As a receiver leaves them: each part has a clock of its own, here one that is five hours ahead, or behind."""
    hours = [5 * 3600 * 1000 + 40 * i for i in range(12)]
    early, late = encode(tmp_path / "early.ts", 12), encode(tmp_path / "late.ts", 12, ticks=hours)
    for parts in ((early, late), (late, early)):
        whole = tmp_path / "whole.ts"
        whole.write_bytes(b"".join(part.read_bytes() for part in parts))
        positions = [frame.position for frame in VideoSource(whole)]
        assert len(positions) >= 22 and max(np.diff(positions)) < 2
