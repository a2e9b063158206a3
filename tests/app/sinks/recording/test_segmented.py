"""Recording for days: real files on real small disks, real encoders, real kills."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

from app.pipeline.frame import Frame, Origin, OutputFrame
from app.sinks.filenames import rename_without_replacing
from app.sinks.recording import next_segment
from app.sinks.recording.next_segment import SegmentTimeouts
from app.sinks.recording.recorder import Recorder
from app.sinks.recording.retention import clean
from app.sinks.recording.segmented import SegmentedRecorder
from tests.support.recordings import (
    LIMIT,
    NOISE,
    ROOT,
    Camera,
    disk,
    frames,
    open_elsewhere,
    segments,
    settings,
    started,
)

pytestmark = pytest.mark.integration


def test_segments_follow_one_another_without_a_gap(tmp_path: Path) -> None:
    with started(tmp_path, segment=1) as camera:
        camera.until(lambda: camera.sink.facts()["frames"])
        missed = camera.sink.facts()["missed"]  # before the first file was open
        camera.until(lambda: len(segments(tmp_path)) >= 3)
        for path in segments(tmp_path):
            assert frames(path), "plays while it is being written"
        files = [file for file in psutil.Process().open_files() if str(tmp_path) in file.path]
        assert len(files) <= 3, "this one, the next one, one being closed"
    facts = camera.sink.facts()
    total = sum(len(frames(path)) for path in segments(tmp_path))
    assert total == facts["frames"] == camera.count - facts["dropped"] - facts["missed"]
    assert facts["segments"] == len(segments(tmp_path)) >= 3
    assert not list(tmp_path.glob(".*")), "nothing hidden is left behind"
    assert facts["missed"] == missed, "none between two"


@pytest.mark.parametrize("slow", [0.0, 0.02])
def test_a_film_is_cut_by_its_own_time_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow: float
) -> None:
    """However fast it is played, and the encoder is."""
    encode = Recorder._encode

    def slower(self: Recorder, image: Any, position: float) -> None:
        time.sleep(slow)  # a weaker processor
        encode(self, image, position)

    monkeypatch.setattr(Recorder, "_encode", slower)
    sink = SegmentedRecorder(settings(tmp_path, segment=2), fps=25, lossless=True)
    for index in range(150):
        sink.write(OutputFrame(NOISE, Frame(NOISE, index, 0, index / 25)))
    sink.close()
    facts = sink.facts()
    assert (facts["frames"], facts["dropped"], facts["missed"], facts["segments"]) == (150, 0, 0, 3)
    assert [len(frames(path)) for path in segments(tmp_path)] == [50, 50, 50]
    written = sorted(segments(tmp_path), key=lambda path: path.stat().st_mtime)
    assert written == sorted(written, key=lambda path: (path.stem[:15], len(path.stem))), "named in their order"


def test_a_film_waits_for_a_disk_that_hangs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = threading.Event()
    monkeypatch.setattr(next_segment, "clean", lambda _: asleep.wait(60))
    sink = SegmentedRecorder(settings(tmp_path), fps=25, lossless=True, timeouts=SegmentTimeouts(open_s=1.0))
    begun = time.monotonic()
    for index in range(20):
        sink.write(OutputFrame(NOISE, Frame(NOISE, index, 0, index / 25)))
    assert 1.0 <= time.monotonic() - begun < 10, "not once for each picture"
    asleep.set()
    sink.close()
    assert sink.facts()["missed"] == 20


def test_a_segment_of_a_few_pictures_is_told_by_its_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), started(tmp_path) as camera:
        camera.until(lambda: camera.sink.facts()["frames"])
    (path,) = segments(tmp_path)
    assert frames(path)
    assert [line.rpartition(", to ")[2] for line in caplog.messages if ", to " in line] == [str(path)]


def test_what_is_recorded_reaches_the_disk_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, synced = os.fdatasync, list[str]()

    def watched(file: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{file}").readlink()))
        sync(file)

    monkeypatch.setattr(os, "fdatasync", watched)
    with started(tmp_path) as camera:
        camera.until(lambda: segments(tmp_path))
        begun = time.monotonic()
        camera.until(lambda: synced.count(str(segments(tmp_path)[0])) >= 3)
        assert time.monotonic() - begun < 30


def test_what_another_program_is_about_to_record_is_let_alone(tmp_path: Path) -> None:
    """It tells by its lock: in another container, or on another machine, its number is nobody's here, or ours."""
    names = [".livesr-1-4.part.mp4", f".livesr-{os.getpid()}-1.part.mp4", "holiday.mp4"]
    for name in names:
        (tmp_path / name).write_bytes(b"begun")
    alien = tmp_path / ".livesr-4194305-1.part.mp4"  # above Linux's highest id
    with open_elsewhere(alien):
        clean(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {alien.name, "holiday.mp4"}
    clean(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.mp4"]


def test_a_segment_ends_by_size(tmp_path: Path) -> None:
    with started(tmp_path, segment=None, segment_mb=0.3) as camera:
        camera.until(lambda: len(segments(tmp_path)) >= 3)
    assert all(path.stat().st_size < 3e6 for path in segments(tmp_path))


def test_two_programs_that_want_one_name_take_it_from_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, hidden = tmp_path / "20200101-000000.mp4", tmp_path / ".livesr-1-1.part.mp4"
    theirs.write_text("theirs")
    hidden.write_text("ours")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "exists", lambda _: False)  # it was not there yet a moment ago
        ours = rename_without_replacing(hidden, theirs)
    assert (theirs.read_text(), ours.read_text(), ours.name) == ("theirs", "ours", "20200101-000000-2.mp4")

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)  # a memory card
    last = rename_without_replacing(ours, theirs)
    assert (theirs.read_text(), last.read_text()) == ("theirs", "ours")
    assert {path.name for path in tmp_path.iterdir()} == {theirs.name, last.name}


@pytest.mark.parametrize("way", ["deleted", "moved"])
def test_a_segment_that_is_taken_away_is_noticed_and_the_next_one_begins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """By a person, or by whatever else keeps house there; with the file of the next one, if it is the whole folder."""
    folder, aside = tmp_path / "here", tmp_path / "aside"
    folder.mkdir()
    with started(folder) as camera:
        camera.until(lambda: segments(folder) and camera.sink.facts()["frames"] > 20)
        (taken,), missed = segments(folder), camera.sink.facts()["missed"]
        if way == "deleted":
            taken.unlink()
        else:
            folder.rename(aside)
        camera.until(lambda: camera.sink.facts()["missed"] > missed + 20 and folder.exists() and segments(folder))
        camera.until(lambda: camera.sink.facts()["frames"] > 5)
    facts = camera.sink.facts()
    (kept,) = segments(folder)
    assert len(frames(kept)) == facts["frames"] == camera.count - facts["missed"] - facts["dropped"]
    assert facts["segments"] == 1 and facts["missed"] > 20
    assert sum(f"{taken} was deleted or moved" in line for line in caplog.messages) == 1
    if way == "moved":
        assert frames(aside / taken.name), "it plays where it is now"


def test_a_segment_that_is_truncated_counts_as_what_is_left_and_the_next_one_begins(tmp_path: Path) -> None:
    with started(tmp_path) as camera:
        camera.until(lambda: (found := segments(tmp_path)) and found[0].stat().st_size > 1_000_000)
        (cut,) = segments(tmp_path)
        os.truncate(cut, 500_000)
        camera.until(lambda: "truncated to 500000" in camera.sink.problem)
        camera.until(lambda: not camera.sink.problem and len(segments(tmp_path)) == 2)
    facts = camera.sink.facts()
    assert cut.stat().st_size == 500_000, "nothing is written behind what is left"
    left = 0
    with av.open(str(cut)) as container, contextlib.suppress(av.FFmpegError):
        for frame in container.decode(video=0):
            left += not frame.is_corrupt
    assert facts["frames"] == left + len(frames(segments(tmp_path)[1])) and left > 0
    assert facts["frames"] + facts["missed"] + facts["dropped"] == camera.count


def test_a_full_disk_stops_the_recording_not_the_picture(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with disk(folder, "4m"):
        ballast = folder / "ballast"
        ballast.write_bytes(bytes(2_000_000))
        with started(folder) as camera:
            camera.until(lambda: camera.sink.problem)
            assert "space" in camera.sink.problem
            count = camera.count
            camera.until(lambda: camera.count > count + 20)
            kept = segments(folder)
            assert kept and all(len(frames(path)) > 5 for path in kept)
            ballast.unlink()
            camera.until(lambda: not camera.sink.problem)
            camera.until(lambda: len(segments(folder)) > len(kept))
            assert camera.longest < 3
        assert camera.sink.facts()["missed"] > 0
        assert all(frames(path) for path in segments(folder))


def test_a_card_that_is_read_only_for_a_while(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    with disk(folder, "8m"), started(folder, segment=1) as camera:
        camera.until(lambda: segments(folder))
        # Open files keep being written, so that the kernel refuses at first; -o bind remounts read-only at once.
        subprocess.run(["mount", "-o", "bind", folder, folder], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
        try:
            camera.until(lambda: camera.sink.problem)
            assert "Read-only" in camera.sink.problem
        finally:
            subprocess.run(["umount", folder], check=True)
        before = len(segments(folder))
        camera.until(lambda: not camera.sink.problem and len(segments(folder)) > before)


def test_a_folder_that_is_taken_away_and_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "card"
    folder.mkdir()
    with started(folder, segment=1) as camera:
        camera.until(lambda: segments(folder))
        shutil.rmtree(folder)
        folder.write_text("in the way")
        camera.until(lambda: camera.sink.problem)
        folder.unlink()
        camera.until(lambda: not camera.sink.problem and segments(folder))


def test_a_failure_that_nobody_has_foreseen_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Recorder:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as context:
        context.setattr(next_segment, "Recorder", fails)
        with started(tmp_path, SegmentTimeouts(retry_s=0.1)) as camera:
            camera.until(lambda: "can't start new thread" in camera.sink.problem)
            context.undo()
            camera.until(lambda: segments(tmp_path))


def test_too_little_room_is_told(tmp_path: Path) -> None:
    sink = SegmentedRecorder(settings(tmp_path).model_copy(update={"reserve_mb": 1e12}), fps=50, lossless=False)
    with Camera(sink) as camera:
        camera.until(lambda: "free" in sink.problem)
    assert not segments(tmp_path) and sink.facts()["frames"] == 0


def test_what_stands_in_for_the_camera_is_not_recorded(tmp_path: Path) -> None:
    with started(tmp_path) as camera:
        camera.until(lambda: camera.sink.facts()["frames"] > 5)
        camera.origin = Origin.HELD
        asked = camera.count
        camera.until(lambda: camera.count > asked + 2)
        frozen = camera.count
        camera.until(lambda: camera.count > frozen + 10)
    facts = camera.sink.facts()
    assert facts["frames"] + facts["missed"] + facts["dropped"] < frozen


KILLED = """
import sys, time
import numpy as np
from pathlib import Path
from app.config.schema import RecordingConfig
from app.pipeline.frame import Frame, OutputFrame
from app.sinks.recording.segmented import SegmentedRecorder
sink = SegmentedRecorder(RecordingConfig(folder=Path(sys.argv[1]), segment=1, reserve_mb=0), fps=50, lossless=False)
image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
began = time.monotonic()
while True:
    now = time.monotonic()
    sink.write(OutputFrame(image, Frame(image, 0, now, now - began)))
    print(time.time(), flush=True)
    time.sleep(0.02)
"""


def test_kills_leave_nothing_unplayable_and_cost_a_second(tmp_path: Path) -> None:
    """In turns in one folder, as a kiosk that is switched off at the wall every evening."""
    rng = np.random.default_rng(5)
    for _ in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as p:
            assert p.stdout is not None
            first = float(p.stdout.readline())
            last, longest = first, 0.0
            until = first + float(rng.uniform(0.3, 2.2))
            while last < until:
                before_it, last = last, float(p.stdout.readline())
                longest = max(longest, last - before_it)
            before = {path: len(frames(path)) for path in segments(tmp_path)}
            os.kill(p.pid, signal.SIGKILL)
        for path in segments(tmp_path):
            assert len(frames(path)) >= max(1, before.get(path, 1))
    newest = max(segments(tmp_path), key=lambda path: path.stat().st_mtime)
    assert last - newest.stat().st_mtime < 1.0 + 8 * longest  # what was queued, on a machine that is busy
    SegmentedRecorder(settings(tmp_path), fps=50, lossless=False).close()
    assert not list(tmp_path.glob(".*")), "what had no picture yet is cleared away"


def test_an_encoder_that_falls_behind_drops_evenly(tmp_path: Path) -> None:
    """About every second picture is too much: never two long gaps, and what is missing is counted."""
    recorder = Recorder(tmp_path / "a.mp4", encoder="libx264", lossless=False, depth=2)
    work, turns = recorder._encode, threading.Semaphore(0)

    def slow(image: Any, position: float) -> None:
        assert turns.acquire(timeout=LIMIT)  # a weaker processor: one picture while two come
        work(image, position)

    recorder._encode = slow  # type: ignore[method-assign] # no preset is slow on every machine
    for index in range(80):
        recorder.write(OutputFrame(NOISE, Frame(NOISE, index, 0, index * 0.02)))
        if index % 2:
            turns.release()
            end = time.monotonic() + LIMIT
            while recorder.frames < (index + 1) // 2:
                assert time.monotonic() < end
                time.sleep(0.001)
    turns.release(80)
    recorder.close()
    gaps = np.diff(frames(tmp_path / "a.mp4")[3:])
    assert recorder.dropped > 15 and recorder.frames + recorder.dropped == 80
    assert np.percentile(gaps, 90) < 4 * np.median(gaps)


def test_a_recorder_that_hangs_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = threading.Event()
    monkeypatch.setattr(Recorder, "_encode", lambda *_: asleep.wait(60))  # a card that swallows writes
    with started(tmp_path, SegmentTimeouts(hang_s=0.5, encoder_s=0.5)) as camera:
        camera.until(lambda: "no picture has been written" in camera.sink.problem)
        asleep.set()


def test_a_recorder_that_goes_on_after_it_hung_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asleep, encode, hung = threading.Event(), Recorder._encode, list[Recorder]()

    def stuck(recorder: Recorder, image: Any, position: float) -> None:
        if recorder.frames == 20 and not hung:
            hung.append(recorder)
            asleep.wait(60)
        encode(recorder, image, position)

    monkeypatch.setattr(Recorder, "_encode", stuck)
    with started(tmp_path, SegmentTimeouts(hang_s=0.5)) as camera:
        camera.until(lambda: "no picture has been written" in camera.sink.problem)
        asleep.set()
        camera.until(lambda: not hung[0]._thread.is_alive())
        camera.until(lambda: not camera.sink.problem)
    facts = camera.sink.facts()
    assert facts["frames"] == sum(len(frames(path)) for path in segments(tmp_path)) > 20
    assert facts["segments"] == len(segments(tmp_path)) == 2
