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
from scripts.kiosk import fake_camera
from scripts.kiosk.fake_camera import MJPG, YUYV, FakeCamera, FakeDevDir
from tests.support.clips import take

pytestmark = pytest.mark.media


@pytest.fixture
def camera_0(dev: FakeDevDir, monkeypatch: pytest.MonkeyPatch) -> FakeDevDir:
    """A camera of 640x480, each of whose pictures is as bright as its number."""
    monkeypatch.setattr(fake_camera, "scene", lambda count, size: np.full((size[1], size[0], 3), count, np.uint8))
    dev.plug(0, "ok 640x480", by_id=False)
    return dev


def test_an_obedient_camera(camera_0: FakeDevDir, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    camera_0.set(0, "ok 320x240")
    camera = Camera.v4l2(0, size=(320, 240), fps=60)
    device = FakeCamera.last
    assert device.arguments == (str(camera_0.folder / "video0"), cv2.CAP_V4L2)
    wished = [cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS]
    assert device.requested[:4] == wished  # the format before the size: sizes depend on it
    assert [device.get(prop) for prop in wished] == [MJPG, 320, 240, 60] and device.get(cv2.CAP_PROP_BUFFERSIZE) == 2
    assert (camera.live, camera.paced, camera.fps) == (True, True, 60)
    assert "320x240 MJPG at 60 fps" in caplog.text and "WARNING" not in caplog.text
    frames = take(camera, 5)
    assert [frame.index for frame in frames] == list(range(5))
    assert all(frame.size == (320, 240) for frame in frames)
    assert frames[0].position == 0 and all(a.position <= b.position for a, b in itertools.pairwise(frames))
    assert device.released == 1


def test_the_log_says_what_a_disobedient_camera_gives(
    camera_0: FakeDevDir, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(FakeCamera, "set", lambda *_: False)
    camera = Camera.v4l2(0, size=(640, 360), fps=60)
    assert camera.fps == 30
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "640x480 YUYV at 30 fps" in record.message and "640x360 MJPG at 60 fps" in record.message
    camera.close()


def test_buffers_go_round(camera_0: FakeDevDir) -> None:
    camera, places = Camera.v4l2(0, fps=240), set()
    for frame in camera:
        places.add(frame.image.ctypes.data)
        frame.release()
        if frame.index == 9:
            camera.close()
    assert len(places) == 1


def test_a_frame_kept_is_not_overwritten(camera_0: FakeDevDir) -> None:
    values = [int(frame.image[0, 0, 0]) for frame in take(Camera.v4l2(0, fps=240), 6)]
    assert values == [2, 3, 4, 5, 6, 7]  # the first was the look at open


def test_another_shape_midway_comes_as_it_is(camera_0: FakeDevDir, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [(480, 640, 3)] * 3 + [(240, 320, 3)] * 2 + [(240, 320)] * 2 + [(240, 320, 4)]
    monkeypatch.setattr(fake_camera, "scene", lambda count, _size: np.full(shapes[count - 1], count, np.uint8))
    sizes = [frame.image.shape for frame in take(Camera.v4l2(0, fps=240), 7)]
    assert sizes == [(480, 640, 3)] * 2 + [(240, 320, 3)] * 5


@pytest.mark.parametrize(("age", "trusted"), [(0.5, True), (5.0, False), (-1.0, False), (None, False)])
def test_the_drivers_time_is_used_where_it_makes_sense(
    camera_0: FakeDevDir, monkeypatch: pytest.MonkeyPatch, age: float | None, trusted: bool
) -> None:
    monkeypatch.setattr(FakeCamera, "age_s", age)
    begun = time.monotonic()
    (frame,) = take(Camera.v4l2(0), 1)
    assert frame.captured <= time.monotonic() - 0.5 if trusted else frame.captured >= begun


def test_a_missing_camera(camera_0: FakeDevDir) -> None:
    with pytest.raises(SourceError, match="no camera") as error:
        Camera.v4l2(7)
    assert str(camera_0.folder / "video0") in error.value.facts and "--source demo" in error.value.fix
    camera_0.unplug(0)
    with pytest.raises(SourceError) as error:
        Camera.v4l2("/dev/v4l/by-id/usb-none")
    assert "no camera was found" in error.value.facts


def test_a_camera_without_permission(camera_0: FakeDevDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(SourceError, match="permission denied") as error:
        Camera.v4l2(0)
    assert "'video'" in error.value.facts
    assert {device.problem for device in cameras()} == {"Permission denied"}


def test_a_camera_that_does_not_open_can_be_tried_again(camera_0: FakeDevDir) -> None:
    camera_0.set(0, "refuse")
    with pytest.raises(SourceError, match="cannot be opened") as error:
        Camera.v4l2(0)
    assert "another program" in error.value.facts and FakeCamera.last.released == 1
    camera_0.set(0, "ok")
    Camera.v4l2(0).close()
    assert FakeCamera.last.released == 1


def test_a_camera_that_opens_and_gives_nothing(camera_0: FakeDevDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_camera, "SELECT_TIMEOUT_S", 0.0)
    camera_0.set(0, "stuck")
    with pytest.raises(SourceError, match="delivers no picture") as error:
        Camera.v4l2(0)
    assert error.value.fix and FakeCamera.last.released == 1


def test_a_camera_that_dies_midway(camera_0: FakeDevDir) -> None:
    camera, seen = Camera.v4l2(0), 0
    with pytest.raises(SourceError, match="stopped delivering pictures") as error:
        for frame in camera:
            seen += 1
            frame.release()
            if seen == 3:
                camera_0.unplug(0)
    assert seen == 3 and "after 3 frames" in error.value.facts and "unplugged" in error.value.facts
    assert FakeCamera.last.released == 1


def test_close_from_another_thread_frees_the_device_once(camera_0: FakeDevDir, monkeypatch: pytest.MonkeyPatch) -> None:
    camera, device = Camera.v4l2(0), FakeCamera.last
    inside, leave = threading.Event(), threading.Event()

    def slow() -> bool:
        inside.set()
        assert leave.wait(20) and not device.released  # must not be freed under the thread in here
        return True

    monkeypatch.setattr(device, "grab", slow)
    reader = threading.Thread(target=lambda: list(camera))
    reader.start()
    assert inside.wait(20)
    camera.close()
    assert device.released == 0
    leave.set()
    reader.join(20)
    camera.close()
    assert not reader.is_alive() and device.released == 1


@pytest.fixture
def gstreamer(dev: FakeDevDir, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that says how a GStreamer pipeline behaves."""
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "  Video I/O:\n    GStreamer:     YES (1.20.3)\n")
    path = dev.folder / "gstreamer"
    path.write_text("ok")
    return path


def test_a_csi_camera_is_a_pipeline(gstreamer: Path) -> None:
    camera = Camera.csi(1, size=(640, 360), fps=59.94)
    pipeline, api = FakeCamera.last.arguments[:2]
    assert api == cv2.CAP_GSTREAMER
    assert pipeline.startswith("nvarguscamerasrc sensor-id=1 ! video/x-raw(memory:NVMM),width=640,height=360")
    assert "framerate=2997/50 !" in pipeline and "format=BGR !" in pipeline and "drop=true max-buffers=1" in pipeline
    assert FakeCamera.last.requested == []
    camera.close()


def test_a_pipeline_gets_a_sink_unless_it_has_one(gstreamer: Path) -> None:
    Camera.gstreamer("videotestsrc").close()
    assert FakeCamera.last.arguments[0].startswith(
        "videotestsrc ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true"
    )
    Camera.gstreamer("videotestsrc ! appsink").close()
    assert FakeCamera.last.arguments[0] == "videotestsrc ! appsink"
    gstreamer.write_text("refuse")
    with pytest.raises(SourceError, match="cannot be started") as error:
        Camera.gstreamer("nonsense")
    assert "nonsense" in error.value.facts


def test_a_pipeline_of_four_channels_keeps_its_colours(gstreamer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bgrx = np.full((48, 64, 4), (10, 20, 30, 255), np.uint8)
    monkeypatch.setattr(fake_camera, "scene", lambda *_: bgrx)
    (frame,) = take(Camera.gstreamer("videotestsrc ! appsink"), 1)
    assert frame.image[0, 0].tolist() == [10, 20, 30]


def test_an_opencv_without_gstreamer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "    GStreamer:                   NO\n")
    with pytest.raises(SourceError, match="GStreamer") as error:
        Camera.csi(0)
    assert "--system-site-packages" in error.value.fix


@pytest.fixture
def device_files(dev: FakeDevDir, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is /dev, with two cameras in it and a file that is none."""
    monkeypatch.setattr(v4l2, "SYS_VIDEO4LINUX", dev.folder / "no names")
    for name in ("video0", "video10", "video2loop"):
        (dev.folder / name).touch()
    return dev.folder


def test_files_that_are_no_devices_are_listed_with_the_reason(device_files: Path) -> None:
    found = cameras()
    assert [Path(device.path).name for device in found] == ["video0", "video10"]
    assert all(device.problem for device in found)


def test_no_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v4l2, "DEV", tmp_path / "none")
    assert cameras() == [] and "no camera" in v4l2.listing()


def test_modes_come_from_the_driver(device_files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = pytest.importorskip("linuxpy.video.device", reason="linuxpy is for Linux only")
    capture = video.Capability.VIDEO_CAPTURE
    (device_files / "v4l/by-id/usb-ACME-0").symlink_to(device_files / "video0")

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
    by_id = str(device_files / "v4l/by-id/usb-ACME-0")
    assert cameras() == [V4l2Device(str(device_files / "video0"), "ACME HD", by_id, modes)]  # video10 gives no pictures
    assert [str(mode) for mode in modes] == ["MJPG 1280x720 at 30, 15 fps", "MJPG 640x360 at 60 fps", "YUYV 800x600"]
    shown = "\n".join(listing())
    assert all(part in shown for part in (f"{device_files}/video0 (ACME HD)", by_id, *map(str, modes)))
