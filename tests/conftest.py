"""What tests of several files share: the tiers, an X server, the names of shared memory, cameras, a crowded system."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import pytest
from filelock import FileLock
from hypothesis import settings

if TYPE_CHECKING:
    from scripts.kiosk.fake_camera import FakeDevDir

settings.register_profile("shared", deadline=None)  # how long an example takes tells of the machine
settings.load_profile("shared")

NOT_UNIT = {"integration", "e2e", "display", "slow", "torch", "sdk", "triton", "gpu"}
"""The marks of tests that are more than unit tests; `./scripts/test --quick` runs those that have none of them."""
PROCESS_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}
"""The audit events of the interpreter that tell of another process."""

running_unit_test = False


@pytest.hookimpl(tryfirst=True)  # before pytest itself selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "display" in getattr(item, "fixturenames", ()):
            item.add_marker("display")
        if not NOT_UNIT & {mark.name for mark in item.iter_markers()}:
            item.add_marker("unit")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Forbids a unit test, and the fixtures that are set up for it, to start a process or an encoder."""
    global running_unit_test
    running_unit_test = item.get_closest_marker("unit") is not None
    try:
        return (yield)
    finally:
        running_unit_test = False


def refuse(what: str) -> None:
    if running_unit_test:
        pytest.fail(f"A unit test {what}: mark it with @pytest.mark.integration, or e2e where it runs the program.")


def audit(event: str, _arguments: tuple[object, ...]) -> None:
    if event in PROCESS_STARTS:
        refuse("starts a process")


def av_open(file: Any, mode: Any = None, *arguments: Any, **options: Any) -> Any:
    """`av.open`, but not for a unit test that writes."""
    if mode and mode != "r":
        refuse("starts an encoder")
    return original_av_open(file, mode, *arguments, **options)


sys.addaudithook(audit)
original_av_open, av.open = av.open, av_open


@pytest.fixture(scope="module")
def named_memory() -> Iterator[None]:
    """The names in /dev/shm for one file's tests alone: two files may run at a time (scripts/test)."""
    with FileLock(Path(tempfile.gettempdir()) / f"livesr-tests-{os.getuid()}.lock"):
        yield


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """DISPLAY of an Xvfb of 1280x800 without a window manager. A test that asks for it gets the mark `display`."""
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
    from scripts.kiosk.fake_camera import FakeCamera, FakeDevDir

    made = FakeDevDir(tmp_path / "dev")
    monkeypatch.setattr(v4l2, "DEV", made.folder)
    monkeypatch.setattr(v4l2, "SYS_VIDEO4LINUX", made.folder / "names")
    monkeypatch.setattr(cv2, "VideoCapture", FakeCamera)
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
