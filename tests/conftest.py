"""What tests of several files share: a real X server, the names of shared memory, cameras, a crowded system."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock
from hypothesis import settings

if TYPE_CHECKING:
    from scripts.kiosk.fake_camera import FakeDevDir

settings.register_profile("shared", deadline=None)  # how long an example takes tells of the machine
settings.load_profile("shared")


@pytest.fixture(scope="module")
def named_memory() -> Iterator[None]:
    """The names in /dev/shm for one file's tests alone: two files may run at a time (scripts/test)."""
    with FileLock(Path(tempfile.gettempdir()) / f"livesr-tests-{os.getuid()}.lock"):
        yield


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """DISPLAY of an Xvfb of 1280x800 without a window manager."""
    if not shutil.which("Xvfb"):
        pytest.fail("Xvfb is missing: sudo apt install xvfb xdotool openbox wmctrl")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24", "-noreset", "-nolisten", "tcp"],
        pass_fds=[write],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as told:
        number = told.readline().strip()
    assert number, "Xvfb did not start"
    yield f":{number}"
    server.terminate()
    server.wait(10)


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDevDir:
    """Cameras at the vendor's end; none is plugged in yet."""
    import cv2

    from app.sources import v4l2
    from app.sources.reconnecting import hotplug
    from scripts.kiosk.fake_camera import FakeCamera, FakeDevDir

    made = FakeDevDir(tmp_path / "dev")
    monkeypatch.setattr(v4l2, "DEV", made.folder)
    monkeypatch.setattr(v4l2, "NAMES", made.folder / "names")
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
    monkeypatch.setattr(hotplug, "KNOWN", {})
    return made


Crowded = Callable[[int], list[object]]


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> Crowded:
    """Called with a number, it lets so many processes not be started for want of room; they are in what it returns."""

    def crowd(count: int) -> list[object]:
        start, refused = subprocess.Popen, list[object]()

        def popen(*arguments: Any, **options: Any) -> Any:
            if len(refused) < count:
                refused.append(arguments)
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            return start(*arguments, **options)

        monkeypatch.setattr(subprocess, "Popen", popen)
        return refused

    return crowd
