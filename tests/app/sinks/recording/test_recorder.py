"""Real files, read back with a real decoder."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from app.config.schema import RecordingConfig
from app.errors import SinkError
from app.overlays.view_state import ViewState
from app.pipeline.frame import Frame, OutputFrame
from app.sinks.filenames import Filenames
from app.sinks.recording.encoders import check_encoder
from app.sinks.recording.fragment_file import FragmentFile
from app.sinks.recording.muxer import check_file
from app.sinks.recording.on_demand import OnDemandRecorder
from app.sinks.recording.recorder import Recorder, TakenError
from app.sources.video import VideoSource
from engines.base import Image

pytestmark = [pytest.mark.media, pytest.mark.integration]

ROOT = Path(__file__).parents[4]


def scene(index: int, size: tuple[int, int] = (160, 120)) -> Image:
    """Smooth colours that move, with a hard edge."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    planes = [128 + 100 * np.sin((x + 3 * index) / 40), 40 + y, np.where(x > 60 + index % 40, 200, 60)]
    return np.stack(planes, axis=2).clip(0, 255).astype(np.uint8)


def record(path: Path, positions: list[float], size: tuple[int, int] = (160, 120), **options: object) -> Recorder:
    recorder = Recorder(path, lossless=True, **options)  # type: ignore[arg-type]
    for index, position in enumerate(positions):
        image = scene(index, size)
        recorder.write(OutputFrame(image, Frame(image, index, 0, position)))
        image.fill(0)  # the engine takes its buffer back
    recorder.close()
    return recorder


def played(path: Path) -> tuple[list[Image], list[float]]:
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [f.to_ndarray(format="bgr24") for f in frames], [float(f.pts * f.time_base) for f in frames]


def psnr(a: Image, b: Image) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_every_picture_comes_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"a{suffix}"
    recorder = record(path, [i / 30 for i in range(90)])
    images, _ = played(path)
    assert len(images) == recorder.frames == 90
    for index in (0, 45, 89):
        assert psnr(images[index], scene(index)) > 30
    assert recorder.facts() == {
        "path": str(path),
        "frames": 90,
        "seconds": pytest.approx(89 / 30, abs=0.001),
        "dropped": 0,
    }


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_variable_rate_plays_at_the_right_speed(tmp_path: Path, suffix: str) -> None:
    positions = [5.0]
    for index in range(60):
        positions.append(positions[-1] + (0.01, 0.033, 0.2, 0.0004)[index % 4])
    record(tmp_path / f"a{suffix}", positions)
    _, times = played(tmp_path / f"a{suffix}")
    assert times == pytest.approx([p - 5 for p in positions], abs=0.0011)


def test_times_that_do_not_grow_are_put_in_order(tmp_path: Path) -> None:
    record(tmp_path / "a.mp4", [0, 0.1, 0.1, 0.05, 0.2])
    _, times = played(tmp_path / "a.mp4")
    assert len(times) == 5
    assert times == sorted(set(times))


@pytest.mark.parametrize(("suffix", "kept"), [(".mp4", 2**31 / 90000), (".mkv", 14 * 3600)])
def test_a_night_without_a_camera_spoils_no_times_after_it(tmp_path: Path, suffix: str, kept: float) -> None:
    path = tmp_path / f"a{suffix}"
    record(path, [0, 0.1, *(14 * 3600 + 0.1 * i for i in range(1, 5))])
    _, times = played(path)
    assert np.allclose(np.diff(times), [0.1, kept, 0.1, 0.1, 0.1], atol=0.002)


@pytest.mark.parametrize("colour", [(0, 0, 255), (0, 255, 0), (255, 0, 0), (90, 160, 220), (128, 128, 128)])
def test_colours_stay(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    recorder = Recorder(tmp_path / "a.mp4", lossless=True)
    image = np.full((64, 64, 3), colour, np.uint8)
    recorder.write(OutputFrame(image, Frame(image, 0, 0, 0)))
    recorder.close()
    with av.open(str(tmp_path / "a.mp4")) as container:
        frame = next(container.decode(video=0))
        assert int(frame.colorspace) == 1, "BT.709 (ITU-T H.273, matrix coefficients)"
        back = frame.reformat(format="bgr24", src_colorspace=frame.colorspace).to_ndarray()
    assert np.abs(back.reshape(-1, 3).mean(0) - colour).max() < 6


@pytest.mark.parametrize("size", [(161, 121), (17, 33)])
def test_odd_sizes_lose_their_last_row(tmp_path: Path, size: tuple[int, int]) -> None:
    record(tmp_path / "a.mkv", [0, 0.1], size)
    images, _ = played(tmp_path / "a.mkv")
    assert images[0].shape == (size[1] - 1, size[0] - 1, 3)
    assert psnr(images[1], scene(1, size)[: size[1] - 1, : size[0] - 1]) > 25


def test_another_size_is_fitted_in(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.mp4", lossless=True)
    for index, (width, height) in enumerate([(160, 120), (60, 120), (320, 240)]):
        image = np.full((height, width, 3), 200, np.uint8)
        recorder.write(OutputFrame(image, Frame(image, index, 0, index / 10)))
    recorder.close()
    images, _ = played(tmp_path / "a.mp4")
    assert [image.shape for image in images] == [(120, 160, 3)] * 3
    assert images[1][:, :40].mean() < 20
    assert images[1][:, 60:100].mean() > 180
    assert images[2].mean() > 190


def test_a_slow_encoder_drops_and_counts_when_live(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.mp4", lossless=False, depth=1)
    image = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
    for index in range(40):
        recorder.write(OutputFrame(image, Frame(image, index, 0, index / 1000)))
    recorder.close()
    assert recorder.dropped > 0
    assert recorder.frames + recorder.dropped == 40
    assert len(played(tmp_path / "a.mp4")[0]) == recorder.frames


def test_a_picture_after_the_end_is_refused(tmp_path: Path) -> None:
    recorder = record(tmp_path / "a.mp4", [0, 0.1])
    image = scene(0)
    with pytest.raises(SinkError, match="has failed"):
        for index in range(20):  # more than the queue holds
            recorder.write(OutputFrame(image, Frame(image, index, 0, index)))


def test_an_encoder_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asleep = threading.Event()
    recorder = Recorder(tmp_path / "a.mp4", lossless=True, depth=1, encoder_timeout_s=0.5)
    monkeypatch.setattr(recorder, "_encode", lambda *_: asleep.wait(100))  # hardware that does not come back
    image = scene(0)
    with pytest.raises(SinkError, match="has failed") as caught:
        for index in range(3):
            recorder.write(OutputFrame(image, Frame(image, index, 0, index / 30)))
    assert "has not taken a picture" in str(caught.value)
    recorder.close()
    asleep.set()


def test_closing_without_a_picture_is_no_failure(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.mp4", lossless=True)
    recorder.close()
    recorder.close()
    assert recorder.facts()["frames"] == 0


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_what_was_there_stays_until_the_first_picture(tmp_path: Path, suffix: str) -> None:
    """The engine may not load, or the program be ended, before there is one."""
    path = tmp_path / f"a{suffix}"
    Recorder(path, lossless=True).close()
    assert not path.exists()
    record(path, [i / 30 for i in range(30)])
    before = path.read_bytes()
    Recorder(path, lossless=True).close()
    assert path.read_bytes() == before
    record(path, [0.0, 0.1])
    assert len(played(path)[0]) == 2


def test_a_file_that_another_one_writes_is_let_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    first = Recorder(path, lossless=True)
    with pytest.raises(SinkError, match="Cannot record") as told:
        Recorder(path, lossless=True)
    assert "another program is writing it" in told.value.facts
    first.close()
    record(path, [0.0])


@pytest.mark.parametrize("begun", [False, True])
def test_what_others_put_in_its_place_stays(tmp_path: Path, begun: bool) -> None:
    path = tmp_path / "a.mp4"
    with FragmentFile(path) as file:
        if begun:
            file.write(b"a first picture that did not fit")
        path.rename(tmp_path / "b.mp4")
        path.write_bytes(b"precious")
    assert path.read_bytes() == b"precious"


def test_a_link_stays_and_what_it_leads_to_is_recorded(tmp_path: Path) -> None:
    link = tmp_path / "a.mp4"
    link.symlink_to("disk.mp4")
    for _ in range(2):
        check_file(link)
        Recorder(link, lossless=True).close()
        assert link.is_symlink() and not link.exists(), "nothing has come, and nothing is left"
    record(link, [0.0, 0.1])
    assert link.is_symlink() and len(played(tmp_path / "disk.mp4")[0]) == 2


def test_a_recording_that_was_begun_goes_on_under_another_name(tmp_path: Path) -> None:
    """As it is after a reload."""
    settings, filenames = RecordingConfig(file=tmp_path / "a.mp4"), Filenames()
    for index in range(2):
        recording = OnDemandRecorder(settings, ViewState(), filenames, fps=30, lossless=True)
        for number in range(3 + index):
            image = scene(number)
            recording.write(OutputFrame(image, Frame(image, number, 0, number / 30)))
        recording.close()
    assert [len(played(tmp_path / name)[0]) for name in ("a.mp4", "a-2.mp4")] == [3, 4]


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("a.avi", {}, [".avi", ".mp4 or .mkv"]),
        ("a", {}, [".mp4 or .mkv"]),
        ("a.mp4", {"encoder": "h264_quantum"}, ["h264_quantum", "libx264"]),
        ("a.mp4", {"encoder": "aac"}, ["aac", "libx264"]),
        ("a.mp4", {"encoder": "ffv1"}, ["ffv1 is not an H.264 encoder", "libx264"]),  # players know it in no MP4
        ("a.mp4", {"encoder": "libx264rgb"}, ["libx264rgb", "cannot be used", "--encoder"]),  # it takes no yuv420p
        ("file/a.mp4", {}, ["Cannot record", "folder"]),
    ],
)
def test_what_cannot_be_recorded_is_refused_at_once(
    tmp_path: Path, name: str, options: dict[str, str], told: list[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError) as caught:
        Recorder(tmp_path / name, lossless=True, **options)  # type: ignore[arg-type]
    for part in told:
        assert part in str(caught.value)


def test_an_encoder_that_has_started_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a reload it is in use, and a board may have no other; each segment would pay for it."""
    check_encoder("libx264")
    monkeypatch.setattr("av.CodecContext", None)  # PyAV 17 lets no attribute of the class be replaced
    check_encoder("libx264")
    with pytest.raises(AttributeError):
        check_encoder("libx264rgb")


FULL = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from app.sinks.filenames import Filenames
from app.pipeline.frame import Frame, OutputFrame
from app.errors import SinkError
from app.sinks.recording.recorder import Recorder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
recorder = Recorder(Path(sys.argv[1]), lossless=True)
try:
    for index in range(10_000):
        image = np.random.default_rng(index).integers(0, 256, (120, 160, 3), np.uint8)
        recorder.write(OutputFrame(image, Frame(image, index, 0, index / 30)))
except SinkError as error:
    recorder.close()
    print(error)
"""


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_full_disk_is_told_and_what_was_kept_plays(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    done = subprocess.run([sys.executable, "-c", FULL, path], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert "has failed" in done.stdout, done.stderr
    assert "were recorded and can be played" in done.stdout
    assert path.stat().st_size <= 400_000
    kept = float(done.stdout.partition(" frames, ")[2].partition(" s")[0])
    positions = [frame.position for frame in VideoSource(path)]
    assert kept > 1
    assert positions[-1] == pytest.approx(kept, abs=0.06)
    assert f"; {len(positions)} frames, " in done.stdout


@pytest.mark.parametrize("room", ["10", "5000"])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_disk_that_is_full_from_the_start_is_called_that(tmp_path: Path, suffix: str, room: str) -> None:
    """Also if the head of the file, of less than 2000 bytes, fits; a file without a picture is not left behind."""
    path = tmp_path / f"a{suffix}"
    full = FULL.replace("400_000", room)
    done = subprocess.run([sys.executable, "-c", full, path], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert "File too large; nothing was recorded\n  Make room" in done.stdout, done.stdout + done.stderr
    assert not path.exists()


KILLED = """
import sys, time
import numpy as np
from pathlib import Path
from app.sinks.filenames import Filenames
from app.pipeline.frame import Frame, OutputFrame
from app.sinks.recording.recorder import Recorder
recorder = Recorder(Path(sys.argv[1]), lossless=True)
begun = time.monotonic()
while True:
    position = time.monotonic() - begun
    image = np.full((120, 160, 3), int(position * 40) % 256, np.uint8)
    recorder.write(OutputFrame(image, Frame(image, 0, 0, position)))
    print(position, flush=True)
    time.sleep(0.02)
"""


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_kill_costs_at_most_the_last_second(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with subprocess.Popen([sys.executable, "-c", KILLED, path], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        positions = [0.0]
        while positions[-1] < 3:
            positions.append(float(process.stdout.readline()))
        os.kill(process.pid, signal.SIGKILL)
        positions += map(float, process.stdout.read().split())
    _, times = played(path)
    # Half a second waits for its fragment to be whole, and what is queued has not been encoded yet: on a machine that
    # is busy these pictures are as far apart as that makes them.
    assert times[-1] > positions[-1] - 1.1 - 8 * max(np.diff(positions))


def test_a_fragment_that_does_not_fit_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, path = os.write, tmp_path / "a.mp4"
    room = [3]

    def full(file: int, data: bytes) -> int:
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[: room.pop()])

    with FragmentFile(path) as file:
        file.write(b"moof one")
        with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
            patch.setattr(os, "write", full)
            file.write(b"another")
        assert path.read_bytes() == b"moof one"
        file.write(b" more")
    assert path.read_bytes() == b"moof one more"


def test_the_key_starts_and_stops(tmp_path: Path) -> None:
    view = ViewState()
    recording = OnDemandRecorder(RecordingConfig(folder=tmp_path), view, fps=30, lossless=True)
    assert recording.facts() == []
    recording.toggle()
    assert view.notice == "recording"
    image = scene(0)
    for index in range(10):
        recording.write(OutputFrame(image, Frame(image, index, 0, index / 30)))
    recording.toggle()
    assert "recorded" in view.notice
    (facts,) = recording.facts()
    assert facts["frames"] == 10
    assert len(played(Path(facts["path"]))[0]) == 10
    recording.write(OutputFrame(image, Frame(image, 11, 0, 1)))
    recording.close()


def test_a_recording_that_fails_tells_how_much_of_it_plays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what the muxer had in hand."""
    recording = OnDemandRecorder(RecordingConfig(folder=tmp_path), ViewState(), fps=30, lossless=True)
    recording.toggle()
    image, write = scene(0), os.write
    for index in range(100):
        recording.write(OutputFrame(image, Frame(image, index, 0, index / 30)))

    def full(file: int, data: bytes) -> int:
        if sys._getframe(1).f_code.co_filename.endswith("fragment_file.py"):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data)

    monkeypatch.setattr(os, "write", full)
    recording.toggle()
    (facts,) = recording.facts()
    images, times = played(Path(facts["path"]))
    assert 60 < facts["frames"] == len(images) < 100
    assert facts["seconds"] == pytest.approx(times[-1], abs=0.001)


def test_the_key_twice_in_a_second_makes_two_files(tmp_path: Path) -> None:
    recording = OnDemandRecorder(RecordingConfig(folder=tmp_path), ViewState(), fps=30, lossless=True)
    image = scene(0)
    for _ in range(3):
        recording.toggle()
        recording.write(OutputFrame(image, Frame(image, 0, 0, 0)))
        recording.toggle()
    assert len([path for path in tmp_path.iterdir() if len(played(path)[0]) == 1]) == 3
    assert {Path(facts["path"]) for facts in recording.facts()} == set(tmp_path.iterdir()), "each has its figures"


def test_a_recording_that_fails_at_its_very_end_has_figures_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = OnDemandRecorder(RecordingConfig(file=tmp_path / "a.mp4"), ViewState(), fps=30, lossless=True)
    image = scene(0)
    for index in range(5):
        recording.write(OutputFrame(image, Frame(image, index, 0, index / 30)))

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(SinkError, match="has failed"):
        recording.close()
    (facts,) = recording.facts()
    assert (facts["path"], facts["frames"]) == (str(tmp_path / "a.mp4"), 0), "it was all still on its way"
    assert not (tmp_path / "a.mp4").exists()


def test_a_key_that_cannot_record_says_so_and_the_picture_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    view = ViewState()
    recording = OnDemandRecorder(RecordingConfig(folder=tmp_path / "file"), view, fps=30, lossless=True)
    recording.toggle()
    assert "Cannot record" in view.notice
    image = scene(0)
    recording.write(OutputFrame(image, Frame(image, 0, 0, 0)))
    recording.close()


def test_memory_goes_round(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a.mp4", lossless=True, depth=2)
    image = np.zeros((480, 640, 3), np.uint8)
    before = 0
    for index in range(200):
        recorder.write(OutputFrame(image, Frame(image, index, 0, index / 30)))
        if index == 50:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    recorder.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


HARM: dict[str, Callable[[Path, Path], object]] = {
    "deleted": lambda path, _: path.unlink(),
    "replaced": lambda path, _: path.with_name("other").replace(path),
    "moved": lambda path, aside: path.rename(aside / path.name),
    "folder moved": lambda path, aside: path.parent.rename(aside / "folder"),
    "folder removed": lambda path, _: shutil.rmtree(path.parent),
    "truncated": lambda path, _: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path, _: os.truncate(path, 0),
}
"""What somebody else does to a file that is being recorded, and where there is room aside."""
GONE = ("deleted", "replaced", "folder removed", "emptied")


def recorded_until(recording: OnDemandRecorder, condition: Callable[[], object]) -> int:
    """Feed it pictures, a thirtieth of a second apart by their own times, and return how many it took."""
    count, end = 0, time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        image = scene(count)
        recording.write(OutputFrame(image, Frame(image, count, 0, count / 30)))
        count += 1
    return count


def whole(path: Path) -> int:
    """Count the pictures that play in a file that may end anywhere."""
    count = 0
    with av.open(str(path)) as container, contextlib.suppress(av.FFmpegError):
        for frame in container.decode(video=0):
            count += not frame.is_corrupt
    return count


def figures(recording: OnDemandRecorder) -> list[tuple[Path, int]]:
    return [(Path(one["path"]), one["frames"]) for one in recording.facts()]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("harm", HARM)
def test_what_is_taken_away_while_it_is_recorded_fails_and_another_file_is_begun(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, suffix: str, harm: str
) -> None:
    path, aside = tmp_path / "folder" / f"a{suffix}", tmp_path / "aside"
    aside.mkdir()
    view, said = ViewState(), list[str]()
    monkeypatch.setattr(view, "say", said.append)  # a notice is shown for a while only
    recording = OnDemandRecorder(RecordingConfig(file=path), view, fps=30, lossless=True)
    path.with_name("other").write_bytes(b"something else")
    count = recorded_until(recording, lambda: path.stat().st_size > 40_000)
    HARM[harm](path, aside)
    count += recorded_until(recording, lambda: len(recording.facts()) == 2 and recording.facts()[1]["frames"] > 60)
    (warning,) = (line for line in caplog.messages if line.startswith("The recording"))
    assert f"{path} was deleted, moved or truncated" in warning and "continues in" in caplog.text
    assert said == [f"The recording {path} was deleted, moved or truncated"]
    with pytest.raises(SinkError, match="while it was being written") as raised:
        recording.close()
    recording.close()
    (first, left), (second, kept) = figures(recording)
    assert (
        kept == len(played(second)[0]) and f"{kept} frames" in raised.value.facts and str(second) in raised.value.facts
    )
    assert (left == 0) == (harm in GONE)
    assert left + kept + sum(one["dropped"] for one in recording.facts()) == count, "every picture is accounted for"
    if left:
        assert left == whole(first), "what was recorded stays, and the figures are those of it"
        assert f"{left} " in raised.value.facts
    stays = path.exists() and harm in ("replaced", "truncated", "emptied")
    assert second == (path.with_stem("a-2") if stays else path)
    if harm == "replaced":
        assert path.read_bytes() == b"something else"


@pytest.mark.parametrize("harm", HARM)
def test_what_is_taken_away_after_the_last_picture_is_told_at_the_end(tmp_path: Path, harm: str) -> None:
    path, aside = tmp_path / "folder" / "a.mp4", tmp_path / "aside"
    aside.mkdir()
    recording = OnDemandRecorder(RecordingConfig(file=path), ViewState(), fps=30, lossless=True)
    path.with_name("other").write_bytes(b"something else")
    count = recorded_until(recording, lambda: path.stat().st_size > 40_000)
    HARM[harm](path, aside)
    with pytest.raises(SinkError, match="while it was being written"):
        recording.close()
    ((place, left),) = figures(recording)
    assert (left == 0) == (harm in GONE)
    assert left == 0 or left == whole(place)
    assert left + recording.facts()[0]["dropped"] == count
    assert path.exists() == (harm in ("replaced", "truncated", "emptied"))


def test_a_link_that_leads_to_what_is_deleted_is_noticed(tmp_path: Path) -> None:
    link, path = tmp_path / "link.mp4", tmp_path / "a.mp4"
    link.symlink_to(path)
    recording = OnDemandRecorder(RecordingConfig(file=link), ViewState(), fps=30, lossless=True)
    recorded_until(recording, lambda: path.stat().st_size > 40_000)
    path.unlink()
    with pytest.raises(SinkError, match="deleted or moved away"):
        recording.close()


def test_a_link_to_nowhere_in_its_place_does_not_end_the_recording(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    recording = OnDemandRecorder(RecordingConfig(file=path), ViewState(), fps=30, lossless=True)
    recorded_until(recording, lambda: path.stat().st_size > 40_000)
    path.unlink()
    path.symlink_to(tmp_path / "gone" / "b.mp4")
    recorded_until(recording, lambda: len(recording.facts()) == 2 and recording.facts()[1]["frames"] > 5)
    with pytest.raises(SinkError, match="deleted or moved away"):
        recording.close()
    (_, lost), (second, kept) = figures(recording)
    assert lost == 0 and second == tmp_path / "a-2.mp4" and kept == len(played(second)[0])
    assert path.is_symlink() and not path.exists()


def test_what_the_key_records_and_somebody_takes_away_fails_no_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recording = OnDemandRecorder(RecordingConfig(folder=tmp_path), ViewState(), fps=30, lossless=True)
    recording.toggle()
    path = Path(recording.facts()[0]["path"])
    recorded_until(recording, lambda: path.stat().st_size > 40_000)
    path.unlink()
    recorded_until(recording, lambda: len(recording.facts()) == 2 and recording.facts()[1]["frames"] > 5)
    recording.close()
    (_, lost), (second, kept) = figures(recording)
    assert lost == 0 and second == path and kept == len(played(path)[0])
    assert caplog.text.count("was deleted, moved or truncated") == 1


def test_no_other_file_can_be_begun_where_its_folder_is_in_the_way(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "a.mp4"
    recording = OnDemandRecorder(RecordingConfig(file=path), ViewState(), fps=30, lossless=True)
    recorded_until(recording, lambda: path.stat().st_size > 40_000)
    shutil.rmtree(path.parent)
    path.parent.write_text("in the way")
    with pytest.raises(SinkError, match="Cannot record to"):
        recorded_until(recording, lambda: False)
    with pytest.raises(SinkError, match="deleted or moved away"):
        recording.close()
    assert figures(recording) == [(path, 0)]


def test_a_hole_is_no_part_of_a_recording(tmp_path: Path) -> None:
    """Whoever truncates a file keeps a file that plays: nothing more is written behind the hole."""
    recorder = Recorder(tmp_path / "a.mp4", lossless=True)  # not watched, as that of segments is not
    index = 0
    with pytest.raises(TakenError, match="truncated to"):
        while index < 10_000:
            image = scene(index)
            recorder.write(OutputFrame(image, Frame(image, index, 0, index / 30)))
            index += 1
            if (tmp_path / "a.mp4").stat().st_size > 40_000:
                os.truncate(tmp_path / "a.mp4", 20_000)
    assert (tmp_path / "a.mp4").stat().st_size == 20_000
    assert recorder.facts()["frames"] == whole(tmp_path / "a.mp4") > 0
