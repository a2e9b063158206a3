"""A camera that comes and goes, at the vendor's end; and streams whose server does."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.errors import SourceError
from app.pipeline.frame import Frame, Origin
from app.pipeline.protocols import Source
from app.sources.reconnecting import source
from app.sources.reconnecting.factory import check_attract, open_reconnecting
from app.sources.reconnecting.hotplug import HotplugCamera
from app.sources.reconnecting.known_cameras import KnownCameras
from app.sources.reconnecting.reader_thread import NOT_PROBED, ReaderThread
from app.sources.reconnecting.source import ReconnectTimeouts, fitted
from app.uri import comes_and_goes
from scripts.kiosk.fake_camera import FakeCamera, FakeDevDir
from tests.support.clips import encode, jpeg, multipart, serve

pytestmark = pytest.mark.integration

LIMIT = 60.0
SOON = 20.0
"""Seconds for what takes a moment, on a machine that is busy too."""
AT_ONCE = ReconnectTimeouts(10 * LIMIT, 10 * LIMIT)
"""A camera that is plugged in is opened at once, or not within LIMIT."""
HELD, LIVE, ATTRACT = Origin.HELD, Origin.LIVE, Origin.ATTRACT


class Watched:
    """A lasting source, read by a thread as the pipeline does, and what has come of it."""

    def __init__(self, **options: Any) -> None:
        usual: dict[str, Any] = {"camera": None, "source": None, "size": None, "fps": None}
        kiosk: dict[str, Any] = {"attract": "demo", "attract_after": 60.0, "frozen_after": 0.6}
        self.source: Any = open_reconnecting(**(usual | kiosk | options))
        self.frames: list[tuple[float, Origin, tuple[int, int], float]] = []
        self.captured: list[float] = []
        self.image: Any = None
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        try:
            for frame in self.source:
                self.captured.append(frame.captured)
                self.frames.append((time.monotonic(), frame.origin, frame.size, frame.position))
                self.image = frame.image.copy()
                frame.release()
        except BaseException as error:
            self.failure = error

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: Any) -> None:
        began = time.monotonic()
        self.source.close()
        self.thread.join(LIMIT)
        assert not self.thread.is_alive() and self.failure is None
        assert time.monotonic() - began < SOON
        positions = [position for *_, position in self.frames]
        assert positions == sorted(positions)

    def until(self, origin: Origin, size: tuple[int, int] | None = None) -> float:
        """Wait for a frame of that kind that comes from now on; seconds it took."""
        began, count = time.monotonic(), len(self.frames)
        while time.monotonic() - began < LIMIT:
            for at, kind, shape, _ in self.frames[count:]:
                if kind is origin and size in (None, shape):
                    return at - began
            time.sleep(0.01)
        raise AssertionError(f"no {origin} within {LIMIT} s; got {self.frames[-5:]}")

    def until_only(self, origin: Origin, count: int) -> None:
        """Wait until the last `count` frames are of that kind."""
        wait_until(lambda: [kind for _, kind, *_ in self.frames[-count:]] == [origin] * count)


def wait_until(true: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < end, f"not within {LIMIT} s"
        time.sleep(0.01)


def test_unplugged_and_replugged_under_another_number(dev: FakeDevDir, caplog: pytest.LogCaptureFixture) -> None:
    path = dev.plug(0)
    with Watched(camera=str(path), timeouts=AT_ONCE) as seen:
        seen.until(LIVE)
        last = None
        for number in (3, 7):
            dev.unplug(0 if number == 3 else 3)
            seen.until(HELD)
            last = seen.image
            dev.plug(number)
            assert seen.until(LIVE) < SOON
        assert last is not None and last.std() > 10  # the last picture, not black
        assert seen.source.losses == 2
        assert seen.source.facts()["seconds_away"] > 0
    assert "looking for it" in caplog.text


def test_positions_go_on_with_the_time_when_it_is_back(dev: FakeDevDir) -> None:
    """A recording keeps them: pictures that all have the same would be played in a moment."""
    dev.plug(0)
    with Watched(camera=0) as seen:
        seen.until(LIVE)
        time.sleep(1.0)
        dev.unplug(0)
        seen.until(HELD)
        dev.plug(0)
        seen.until(LIVE)
        count = len(seen.frames)
        wait_until(lambda: seen.frames[-1][-1] > seen.frames[count - 1][-1] + 0.5)
        last = len(seen.frames) - 1
        grown, taken = (one[last] - one[count] for one in ([at for *_, at in seen.frames], seen.captured))
    assert grown == pytest.approx(taken, abs=0.25) and grown > 0.2


def test_what_has_gone_is_not_kept(dev: FakeDevDir) -> None:
    """A camera that fails every few seconds for a month must not fill the memory with what it was."""
    path = dev.plug(0)
    with Watched(camera=str(path)) as seen:
        seen.until(LIVE)
        gone = []
        for _ in range(3):
            gone.append(weakref.ref(seen.source._reader))
            dev.unplug(0)
            seen.until(HELD)
            time.sleep(0.8)  # it is opened in vain meanwhile
            gone.append(weakref.ref(seen.source._reader))
            dev.plug(0)
            seen.until(LIVE)
        gc.collect()
        assert not [reader for reader in gone[:-1] if reader() is not None]


def test_one_that_comes_while_it_is_opened_in_vain_is_found(dev: FakeDevDir) -> None:
    """Not after the pause, which may be one of seconds by then."""
    changed = threading.Condition()

    def too_early() -> Source:
        dev.plug(0)
        raise SourceError("There is no camera")

    def in_vain() -> Source:
        raise SourceError("The camera is busy")

    def reader(open_: Callable[[], Source], delay: float, seen: object) -> ReaderThread:
        probe = HotplugCamera(None, KnownCameras()).probe
        made = ReaderThread(open_, changed, delay_s=delay, probe=probe, last_seen=seen)
        made.thread.join(LIMIT)
        return made

    first = reader(too_early, 0.5, NOT_PROBED)
    began = time.monotonic()
    second = reader(in_vain, 10 * LIMIT, first.last_seen)
    assert time.monotonic() - began < SOON
    began = time.monotonic()
    reader(in_vain, 1.0, second.last_seen)
    assert time.monotonic() - began >= 1, "it is the one that has failed"


def test_found_by_its_name_where_there_are_no_links(dev: FakeDevDir) -> None:
    dev.plug(0, name="Mine", by_id=False)
    dev.plug(1, name="Another", by_id=False)
    with Watched(camera=0, timeouts=AT_ONCE) as seen:
        seen.until(LIVE)
        dev.unplug(0)
        seen.until(HELD)
        time.sleep(1.2)  # a stranger is not taken for it
        assert seen.frames[-1][1] is HELD
        dev.plug(5, name="Mine", by_id=False)
        assert seen.until(LIVE) < SOON
        assert seen.source.name.endswith("video5")


def test_a_webcams_second_device_file_is_not_taken_for_it(dev: FakeDevDir) -> None:
    plug, path = HotplugCamera(0, KnownCameras()), dev.plug(0, name="Mine", by_id=False)
    plug.remember(path)
    dev.unplug(0)
    dev.plug(4, name="Mine", by_id=False)
    (dev.folder / "names/video4/index").write_text("1")  # metadata
    assert plug.find() is None
    picture = dev.plug(5, name="Mine", by_id=False)
    assert plug.find() == picture


def test_a_new_source_still_knows_a_camera_that_has_moved(dev: FakeDevDir) -> None:
    """As after a new configuration."""
    known = KnownCameras()
    dev.plug(0)
    with Watched(camera=0, known_cameras=known) as seen:
        seen.until(LIVE)
        dev.unplug(0)
        dev.plug(6)
        seen.until(HELD)
        seen.until(LIVE)
    with Watched(camera=0, known_cameras=known) as seen:
        assert seen.until(LIVE) < SOON


def test_another_camera_in_its_place_is_taken(dev: FakeDevDir) -> None:
    dev.plug(0, name="Broken")
    with Watched(camera=0, timeouts=AT_ONCE) as seen:
        seen.until(LIVE)
        dev.unplug(0)
        seen.until(HELD)
        dev.plug(0, name="New")
        assert seen.until(LIVE) < SOON


def test_the_first_camera_is_waited_for(dev: FakeDevDir) -> None:
    with Watched(size=(320, 240), timeouts=AT_ONCE) as seen:
        seen.until(HELD, (320, 240))
        assert not seen.image.any()
        assert seen.source.losses == 0
        dev.plug(2, "ok 320x240")
        assert seen.until(LIVE) < SOON


@pytest.mark.parametrize("fault", ["stuck", "same", "garbled"])
def test_no_new_picture(dev: FakeDevDir, fault: str) -> None:
    dev.plug(0)
    with Watched(camera=0, attract_after=1.0) as seen:
        seen.until(LIVE)
        dev.set(0, fault)
        seen.until(HELD)
        seen.until(ATTRACT, (640, 360))
        kinds = [kind for _, kind, *_ in seen.frames]
        assert {HELD, ATTRACT} <= set(kinds[len(kinds) - kinds[::-1].index(LIVE) :]), "none of them is taken for new"
        dev.set(0, "ok")
        assert seen.until(LIVE) < SOON


def test_the_attract_loop_ends_when_the_camera_is_back(dev: FakeDevDir) -> None:
    dev.plug(0, "ok 320x180")
    before = set(threading.enumerate())
    with Watched(camera=0, attract_after=0.2) as seen:
        seen.until(LIVE)
        dev.unplug(0)
        seen.until(ATTRACT, (320, 180))  # the engine stays as it is
        dev.plug(0, "ok 320x180")
        seen.until(LIVE)
        seen.until_only(LIVE, 10)

        def readers() -> int:
            return len([thread for thread in set(threading.enumerate()) - before if thread.name == "reader"])

        wait_until(lambda: readers() == 1)  # else it goes on unseen, at the cost of the picture


def test_a_film_of_the_owners_is_fitted_in(dev: FakeDevDir, tmp_path: Path) -> None:
    film = encode(tmp_path / "film.mkv", 10, size=(48, 48))
    dev.plug(0, "ok 320x180")
    with Watched(camera=0, attract_after=0.1, attract=str(film)) as seen:
        seen.until(LIVE)
        dev.unplug(0)
        seen.until(ATTRACT, (320, 180))
        seen.until_only(ATTRACT, 25)  # more than the film has: it goes round
        assert seen.image[:, :60].max() == 0 and seen.image[90, 160].min() > 20


def test_a_film_that_was_away_is_shown_when_it_is_back(
    dev: FakeDevDir, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    film = encode(tmp_path / "film.mkv", 10)
    dev.plug(0)
    quick = ReconnectTimeouts(0.1, 0.2)
    with Watched(camera=0, attract_after=0.1, attract=str(film), timeouts=quick) as seen:
        seen.until(LIVE)
        film.unlink()
        dev.unplug(0)
        seen.until(HELD)
        wait_until(lambda: "the attract loop has failed" in caplog.text)
        time.sleep(1.0)  # it is opened in vain meanwhile, some five times
        encode(tmp_path / "whole.mkv", 10).rename(film)  # half a film would fail for another reason
        seen.until(ATTRACT)
    assert caplog.text.count("the attract loop has failed") == 1


def test_slow_to_open_and_refusing(dev: FakeDevDir) -> None:
    dev.plug(0, "slow")
    with Watched(camera=0) as seen:
        seen.until(HELD)
        assert seen.until(LIVE) < SOON
        dev.unplug(0)
        seen.until(HELD)
        dev.plug(0, "refuse")
        time.sleep(0.5)
        dev.set(0, "ok")
        assert seen.until(LIVE) < SOON  # 5 s are the longest pause: nothing tells of it


def test_no_mjpg(dev: FakeDevDir, caplog: pytest.LogCaptureFixture) -> None:
    dev.plug(0, "yuyv")
    with Watched(camera=0) as seen:
        seen.until(LIVE)
    assert "YUYV" in caplog.text


def test_another_size_is_believed_after_three(dev: FakeDevDir) -> None:
    dev.plug(0)
    with Watched(camera=0) as seen:
        seen.until(LIVE, (640, 360))
        dev.set(0, "ok 320x240")
        seen.until(LIVE, (320, 240))
        dev.set(0, "ok 8x8")  # no engine takes that: as good as no picture
        seen.until(HELD, (320, 240))
        dev.set(0, "ok 640x360")
        assert seen.until(LIVE, (640, 360)) < SOON


def test_closing_waits_for_no_driver(dev: FakeDevDir, monkeypatch: pytest.MonkeyPatch) -> None:
    opening, go = threading.Event(), threading.Event()

    class Hanging(FakeCamera):
        def __init__(self, *arguments: Any) -> None:
            opening.set()
            go.wait(LIMIT)
            super().__init__(*arguments)

    monkeypatch.setattr(cv2, "VideoCapture", Hanging)
    dev.plug(0)
    try:
        with Watched(camera=0):
            assert opening.wait(LIMIT)
    finally:
        go.set()


def test_a_camera_that_flickers_leaves_no_threads(dev: FakeDevDir) -> None:
    before = threading.active_count()
    dev.plug(0)
    with Watched(camera=0) as seen:
        for _ in range(5):
            seen.until(LIVE)
            dev.unplug(0)
            seen.until(HELD)
            dev.plug(0)
    end = time.monotonic() + LIMIT
    while threading.active_count() > before:
        assert time.monotonic() < end
        time.sleep(0.05)


def camera_of(over: threading.Event) -> Callable[[Any], None]:
    def pictures() -> Iterator[bytes]:
        for i in range(100_000):
            if over.wait(0.03):
                return
            yield jpeg(i % 50)

    return lambda handler: multipart(handler, pictures())


def test_a_camera_that_hangs_each_time_leaves_few_threads(dev: FakeDevDir, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    class Hanging(FakeCamera):
        def grab(self) -> bool:
            if self._count == 10:
                go.wait(60)
            return super().grab()

    monkeypatch.setattr(cv2, "VideoCapture", Hanging)
    before = set(threading.enumerate())

    def readers() -> int:
        return len([thread for thread in set(threading.enumerate()) - before if thread.name == "reader"])

    dev.plug(0)
    with Watched(camera=0, frozen_after=0.2, timeouts=ReconnectTimeouts(0.02, 0.05, open_s=0.4)) as seen:
        try:
            end = time.monotonic() + LIMIT
            while readers() < source.MAX_HUNG_READERS + 1:
                assert time.monotonic() < end
                time.sleep(0.05)
            time.sleep(2.0)  # the next would have opened and hung by now
            assert readers() == source.MAX_HUNG_READERS + 1
        finally:
            go.set()
        seen.until(LIVE)


def test_a_stream_whose_server_dies_and_comes_back() -> None:
    over = threading.Event()
    with serve(camera_of(over)) as address:
        seen = Watched(source=address)
        seen.until(LIVE)
        over.set()
    with seen:
        seen.until(HELD)
        port = int(address.rsplit(":", 1)[1].strip("/"))
        time.sleep(1.5)  # the pauses have grown by now
        over.clear()
        with serve(camera_of(over), port=port):
            assert seen.until(LIVE) < SOON
            over.set()
    assert seen.source.losses >= 1


def rtsp_camera(port: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "scripts/kiosk/rtsp_server.py", str(port), "320x180"]
    return subprocess.Popen(command, cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True)


def test_a_camera_that_speaks_rtsp_is_killed_and_comes_back() -> None:
    with rtsp_camera() as first:
        assert first.stdout is not None
        port = int(first.stdout.readline())
        seen = Watched(source=f"rtsp://127.0.0.1:{port}/")
        seen.until(LIVE)
        first.kill()
    with seen:
        seen.until(HELD)
        time.sleep(1.5)
        with rtsp_camera(port) as second:
            assert second.stdout is not None and second.stdout.readline()
            back = seen.until(LIVE)
            second.kill()
    assert back < SOON, "2 s are measured by scripts/soak.py; this machine may be busy"
    assert seen.source.losses >= 1


def test_what_comes_and_goes_and_what_is_a_mistake(dev: FakeDevDir, tmp_path: Path) -> None:
    assert comes_and_goes(0, None) and comes_and_goes(None, None)
    assert comes_and_goes(None, "rtsp://host/") and comes_and_goes(None, "csi:0") and comes_and_goes(None, "/dev/null")
    assert not comes_and_goes(None, "film.mkv") and not comes_and_goes(None, "demo")
    with pytest.raises(SourceError, match="attract"):
        check_attract("rtsp://host/")
    with pytest.raises(SourceError, match="no file"):
        check_attract(str(tmp_path / "film.mkv"))
    for address in ("rtsp://127.0.0.1:99999/x", "rtsp://admin:sec/ret@127.0.0.1/x"):
        with pytest.raises(SourceError, match=r"rtsp://127\.0\.0\.1.*/x is not an address") as error:
            Watched(source=address)
        assert "sec" not in str(error.value)


@pytest.mark.parametrize("shape", [(10, 40), (40, 10), (16, 16), (400, 900)])
def test_fitted_keeps_the_shape(shape: tuple[int, int]) -> None:
    canvas = fitted(np.full((*shape, 3), 200, np.uint8), np.empty((60, 80, 3), np.uint8))
    rows, columns = (int((canvas[..., 0] > 100).any(axis).sum()) for axis in (1, 0))
    assert (rows == 60 or columns == 80) and abs(columns / rows - shape[1] / shape[0]) < 0.1 * shape[1] / shape[0]


def test_frames_are_released_once() -> None:
    from app.sources.reconnecting.ref_counted_frame import RefCountedFrame

    given: list[int] = []
    shared = RefCountedFrame(Frame(np.zeros((2, 2, 3), np.uint8), 0, 0, 0, on_release=lambda image: given.append(1)))
    shared.retain()
    shared.retain()
    shared.release()
    assert not given
    shared.release()
    assert given == [1]
