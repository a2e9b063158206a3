"""Cameras and their listing, with OpenCV's and linuxpy's ends replaced by ones that behave as real drivers do."""

from __future__ import annotations

import itertools
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from app.errors import SourceError
from app.inventory import listing
from app.sources import v4l2
from app.sources.camera import Camera
from app.sources.v4l2 import Mode, V4l2Device, cameras
from tests.fake_camera import MJPG, YUYV, Driver, install
from tests.support.clips import take

pytestmark = pytest.mark.media


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    return install(tmp_path, monkeypatch)


@pytest.fixture
def dev(driver: Driver, tmp_path: Path) -> Path:
    """The folder that is /dev here."""
    return tmp_path


def test_an_obedient_camera(driver: Driver, dev: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    camera = Camera.v4l2(0, size=(320, 240), fps=30)
    assert driver.args == (str(dev / "video0"), cv2.CAP_V4L2)
    wished = [cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS]
    assert driver.asked[:4] == wished  # the format before the size: sizes depend on it
    assert driver.props[cv2.CAP_PROP_BUFFERSIZE] == 2
    assert (camera.live, camera.paced, camera.fps) == (True, True, 30)
    assert "320x240 MJPG at 30 fps" in caplog.text and "WARNING" not in caplog.text
    frames = take(camera, 5)
    assert [frame.index for frame in frames] == list(range(5))
    assert all(frame.size == (320, 240) for frame in frames)
    assert frames[0].position == 0 and all(a.position <= b.position for a, b in itertools.pairwise(frames))
    assert driver.released == 1


def test_a_disobedient_camera_is_told_of(driver: Driver, caplog: pytest.LogCaptureFixture) -> None:
    driver.obeys = False
    camera = Camera.v4l2(0, size=(640, 360), fps=30)
    assert camera.fps == 15
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "640x480 YUYV at 15 fps" in record.message and "640x360 MJPG at 30 fps" in record.message
    camera.close()


def test_buffers_go_round(driver: Driver) -> None:
    camera, places = Camera.v4l2(0), set()
    for frame in camera:
        places.add(frame.image.ctypes.data)
        frame.release()
        if frame.index == 9:
            camera.close()
    assert len(places) == 1


def test_a_frame_kept_is_not_overwritten(driver: Driver) -> None:
    values = [int(frame.image[0, 0, 0]) for frame in take(Camera.v4l2(0), 6)]
    assert values == [2, 3, 4, 5, 6, 7]  # the first was the look at open


def test_another_shape_midway_comes_as_it_is(driver: Driver) -> None:
    driver.shapes = [(480, 640, 3)] * 3 + [(240, 320, 3)] * 2 + [(240, 320)] * 2 + [(240, 320, 4)]
    sizes = [frame.image.shape for frame in take(Camera.v4l2(0), 7)]
    assert sizes == [(480, 640, 3)] * 2 + [(240, 320, 3)] * 5


@pytest.mark.parametrize(("age", "trusted"), [(0.5, True), (5.0, False), (-1.0, False), (None, False)])
def test_the_drivers_time_is_used_where_it_makes_sense(driver: Driver, age: float | None, trusted: bool) -> None:
    driver.age = age
    begun = time.monotonic()
    (frame,) = take(Camera.v4l2(0), 1)
    assert frame.captured <= time.monotonic() - 0.5 if trusted else frame.captured >= begun


def test_a_missing_camera(driver: Driver, dev: Path) -> None:
    with pytest.raises(SourceError, match="no camera") as error:
        Camera.v4l2(7)
    assert str(dev / "video0") in error.value.facts and "--source demo" in error.value.fix
    for file in dev.glob("video*"):
        file.unlink()
    with pytest.raises(SourceError) as error:
        Camera.v4l2("/dev/v4l/by-id/usb-none")
    assert "no camera was found" in error.value.facts


def test_a_camera_without_permission(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SourceError, match="permission denied") as error:
        Camera.v4l2(0)
    assert "'video'" in error.value.facts
    assert {device.problem for device in cameras()} == {"Permission denied"}


def test_a_camera_that_does_not_open_can_be_tried_again(driver: Driver) -> None:
    driver.opens = False
    with pytest.raises(SourceError, match="cannot be opened") as error:
        Camera.v4l2(0)
    assert "another program" in error.value.facts and driver.released == 1
    driver.opens = True
    Camera.v4l2(0).close()
    assert driver.released == 1


def test_a_camera_that_opens_and_gives_nothing(driver: Driver) -> None:
    driver.frames = 0
    with pytest.raises(SourceError, match="gives no picture") as error:
        Camera.v4l2(0)
    assert error.value.fix and driver.released == 1


def test_a_camera_that_dies_midway(driver: Driver, dev: Path) -> None:
    driver.frames = 4
    camera, seen = Camera.v4l2(0), 0
    (dev / "video0").unlink()
    with pytest.raises(SourceError, match="stopped giving pictures") as error:
        for _frame in camera:
            seen += 1
    assert seen == 3 and "after 3 frames" in error.value.facts and "unplugged" in error.value.facts
    assert driver.released == 1


def test_close_from_another_thread_frees_the_device_once(driver: Driver) -> None:
    camera = Camera.v4l2(0)
    inside, leave = threading.Event(), threading.Event()
    grab = driver.grab

    def slow() -> bool:
        inside.set()
        assert leave.wait(20) and not driver.released  # must not be freed under the thread in here
        return grab()

    driver.grab = slow  # type: ignore[method-assign] # the device, not our code
    reader = threading.Thread(target=lambda: list(camera))
    reader.start()
    assert inside.wait(20)
    camera.close()
    assert driver.released == 0
    leave.set()
    reader.join(20)
    camera.close()
    assert not reader.is_alive() and driver.released == 1


@pytest.fixture
def gstreamer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  Video I/O:\n    GStreamer:     YES (1.20.3)\n")


def test_a_csi_camera_is_a_pipeline(driver: Driver, gstreamer: None) -> None:
    camera = Camera.csi(1, size=(640, 360), fps=59.94)
    pipeline, api = driver.args[:2]
    assert api == cv2.CAP_GSTREAMER
    assert pipeline.startswith("nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=640,height=360")
    assert "framerate=2997/50 !" in pipeline and "format=BGR !" in pipeline and "drop=true max-buffers=1" in pipeline
    assert driver.asked == []
    camera.close()


def test_a_pipeline_gets_a_sink_unless_it_has_one(driver: Driver, gstreamer: None) -> None:
    Camera.gstreamer("videotestsrc").close()
    assert driver.args[0].startswith("videotestsrc ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true")
    Camera.gstreamer("videotestsrc ! appsink").close()
    assert driver.args[0] == "videotestsrc ! appsink"
    driver.opens = False
    with pytest.raises(SourceError, match="cannot be started") as error:
        Camera.gstreamer("nonsense")
    assert "nonsense" in error.value.facts


def test_a_pipeline_of_four_channels_keeps_its_colours(
    driver: Driver, gstreamer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    bgrx = np.full((48, 64, 4), (10, 20, 30, 255), np.uint8)
    monkeypatch.setattr(driver, "retrieve", lambda image=None: (True, bgrx))
    (frame,) = take(Camera.gstreamer("videotestsrc ! appsink"), 1)
    assert frame.image[0, 0].tolist() == [10, 20, 30]


def test_an_opencv_without_gstreamer_is_named(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "    GStreamer:                   NO\n")
    with pytest.raises(SourceError, match="GStreamer") as error:
        Camera.csi(0)
    assert "--system-site-packages" in error.value.fix


def test_files_that_are_no_devices_are_listed_with_the_reason(dev: Path) -> None:
    found = cameras()
    assert [Path(device.path).name for device in found] == ["video0", "video10"]
    assert all(device.problem for device in found)


def test_no_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "DEV", tmp_path / "none")
    assert cameras() == [] and "no camera" in v4l2.listing()


def test_modes_come_from_the_driver(dev: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = pytest.importorskip("linuxpy.video.device", reason="linuxpy is for Linux only")
    capture = video.Capability.VIDEO_CAPTURE
    (dev / "v4l/by-id").mkdir(parents=True)
    (dev / "v4l/by-id/usb-ACME-0").symlink_to(dev / "video0")

    class Info:
        card = "ACME HD\0"
        formats = (SimpleNamespace(pixel_format=MJPG), SimpleNamespace(pixel_format=YUYV))

        def __init__(self, path: str) -> None:
            self.device_capabilities = capture if path.endswith("video0") else video.Capability.META_CAPTURE

        def format_frame_sizes(self, pixel_format: int) -> list[Any]:
            if pixel_format == YUYV:
                return [SimpleNamespace(info=SimpleNamespace(max_width=800, max_height=600))]
            return [SimpleNamespace(info=SimpleNamespace(width=w, height=h)) for w, h in ((1280, 720), (640, 360))]

        def fps_intervals(self, pixel_format: int, width: int, height: int) -> list[Any]:
            rates = (0,) if pixel_format == YUYV else (30, 15) if height == 720 else (60,)
            return [SimpleNamespace(min_fps=rate, max_fps=rate) for rate in rates]

    class Video:
        def __init__(self, path: str) -> None:
            self.info = Info(path)

        def __enter__(self) -> Video:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(v4l2, "LinuxpyDevice", Video)
    modes = (Mode("MJPG", (1280, 720), (30, 15)), Mode("MJPG", (640, 360), (60,)), Mode("YUYV", (800, 600), ()))
    by_id = str(dev / "v4l/by-id/usb-ACME-0")
    assert cameras() == [V4l2Device(str(dev / "video0"), "ACME HD", by_id, modes)]  # video10 gives no pictures
    assert [str(mode) for mode in modes] == ["MJPG 1280x720 at 30, 15 fps", "MJPG 640x360 at 60 fps", "YUYV 800x600"]
    told = "\n".join(listing())
    assert all(part in told for part in (f"{dev}/video0 (ACME HD)", by_id, *map(str, modes)))
