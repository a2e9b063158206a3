"""A fake camera: it stands in for cv2.VideoCapture and for the files in /dev, to unplug it and plug it in again.

Its device file says how it behaves, and any process may change that at any time:

  ok            moving pictures, 640x360 at 30 fps
  stuck         no picture comes, as when a driver hangs: grab() fails after 3 s, OpenCV's own limit here
  same          the same bytes again and again
  garbled       pictures that cannot be decoded
  yuyv          refuses MJPG
  refuse        does not open
  slow          takes 1.5 s to open

A second word is its size, such as "ok 320x240". Removing the file unplugs it. The file gstreamer beside it does the
same for a GStreamer pipeline, and the file clock says by how many seconds the program's wall clock is off.

    python scripts/kiosk/fake_camera.py FOLDER [arguments of app.run]      runs the program with FOLDER as its /dev
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import cv2
import numpy as np

from app.sinks import snapshot
from app.sinks.recording import on_demand, segmented
from app.sources import v4l2
from engines.base import Image

MJPG, YUYV = (float(int.from_bytes(name, "little")) for name in (b"MJPG", b"YUYV"))
SELECT_TIMEOUT_S = 3.0
"""Seconds until OpenCV gives a silent device up (app/__init__.py sets it)."""
STATE_POLL_S = 0.02


class FakeCamera:
    """A camera opened on a device file, as OpenCV opens it. The methods are those of cv2.VideoCapture."""

    last: ClassVar[FakeCamera]
    """The one that was opened last, for a test."""
    age_s: ClassVar[float | None] = 0.0
    """How old a picture is when it is grabbed; None where the driver gives no time."""

    def __init__(self, path: str, api: int, *arguments: Any) -> None:
        FakeCamera.last = self
        self.arguments = (path, api, *arguments)
        self.requested: list[int] = []
        """The properties that were set, whether or not it obeyed."""
        self.released = 0
        """How often it was released."""
        self._path = v4l2.DEV / "gstreamer" if api == cv2.CAP_GSTREAMER else Path(path)
        self._file = self._path.resolve()
        word, self._size = self._state()
        if word == "slow":
            time.sleep(1.5)
        self._open = word not in ("", "refuse")
        self._identity = self._inode()
        self._props: dict[int, float] = {cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_FOURCC: YUYV}
        self._count, self._due = 0, time.monotonic()
        self._still: Image | None = None

    def isOpened(self) -> bool:  # noqa: N802 # OpenCV's name
        """Tell whether the camera was opened and has not been released."""
        return self._open

    def set(self, prop: int, value: float) -> bool:
        """Set a property; return whether the camera took it."""
        self.requested.append(prop)
        if prop == cv2.CAP_PROP_FOURCC and self._state()[0] == "yuyv":
            return False
        self._props[prop] = value
        return True

    def get(self, prop: int) -> float:
        """Return a property."""
        if prop == cv2.CAP_PROP_POS_MSEC:
            return 0.0 if self.age_s is None else (time.monotonic() - self.age_s) * 1000
        return self._props.get(prop, 0.0)

    def grab(self) -> bool:
        """Wait for the next picture; return whether there is one."""
        self._due = max(self._due + 1 / (self._props[cv2.CAP_PROP_FPS] or 30), time.monotonic())
        time.sleep(max(0.0, self._due - time.monotonic()))
        until = time.monotonic() + SELECT_TIMEOUT_S
        while self._open and self._inode() == self._identity:
            if self._state()[0] != "stuck":
                self._count += 1
                return True
            if time.monotonic() > until:
                break
            time.sleep(STATE_POLL_S)
        return False

    def retrieve(self, image: Image | None = None) -> tuple[bool, Image | None]:
        """Return whether the grabbed picture can be decoded, and the picture."""
        word, size = self._state()
        if word in ("garbled", ""):
            return False, None
        if word != "same" or self._still is None:
            self._still = scene(self._count, size)
        if image is None or image.shape != self._still.shape:
            return True, self._still.copy()
        image[:] = self._still  # as OpenCV does with a buffer that fits
        return True, image

    def release(self) -> None:
        """Close the camera."""
        self._open = False
        self.released += 1

    def _inode(self) -> int:
        """Return the device file's number, which changes with each replugging; 0 while it is unplugged."""
        with contextlib.suppress(OSError):
            return self._file.stat().st_ino
        return 0

    def _state(self) -> tuple[str, tuple[int, int]]:
        """Return the first word of the device file, and the size (width, height)."""
        text = ""
        with contextlib.suppress(OSError):
            text = self._file.read_text()
        word, _, size = text.strip().partition(" ")
        width, _, height = (size or "640x360").partition("x")
        return word, (int(width), int(height))


def scene(count: int, size: tuple[int, int]) -> Image:
    """Return picture `count` of a moving scene: stripes and a bar, with a sensor's noise; uint8 [H, W, 3] BGR."""
    width, height = size
    x, y = np.arange(width)[None, :, None], np.arange(height)[:, None, None]
    image = ((x + 3 * count) % 97 + (y * 2) % 61 + np.array([20, 50, 80])).astype(np.uint8)
    at = 9 * count % width
    image[height // 4 : 3 * height // 4, at : at + 12] = 250
    draw_code(image, count)
    noise = np.random.default_rng(count).integers(0, 6, (height, 1, 3), np.uint8)
    return np.ascontiguousarray(image + noise)


CODE_SIGNATURE = (1, 0, 1, 1, 0, 0, 1, 0)
CODE_TOP, CODE_LEFT, CODE_BIT_WIDTH = 0.66, 0.10, 0.05
"""Where the code lies: shares of the height and width. Clear of captions and the lens."""


def code_bits(size: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Return the 16 places of the code's bits on a picture of `size` (width, height), of any scale."""
    width, height = size
    rows = slice(round(CODE_TOP * height), round((CODE_TOP + 0.08) * height))
    edges = [round((CODE_LEFT + CODE_BIT_WIDTH * number) * width) for number in range(17)]
    return [(rows, slice(a, b)) for a, b in itertools.pairwise(edges)]


def draw_code(image: Image, count: int) -> None:
    """Draw the number of the picture, readable on the screen: a signature, then eight bits."""
    bits = [*CODE_SIGNATURE, *((count >> bit) & 1 for bit in range(8))]
    for place, bit in zip(code_bits((image.shape[1], image.shape[0])), bits, strict=True):
        image[place] = 235 if bit else 15


def read_code(image: Image) -> tuple[int, bool] | None:
    """Return the number on a picture or a screen, and whether it is dimmed; None if it has no code."""
    levels = []
    for rows, columns in code_bits((image.shape[1], image.shape[0])):
        high, wide = rows.stop - rows.start, columns.stop - columns.start
        inner = image[
            rows.start + high // 4 : rows.stop - high // 4, columns.start + wide // 4 : columns.stop - wide // 4
        ]
        levels.append(float(np.median(inner[..., 1])))
    ones = [level for level, bit in zip(levels, CODE_SIGNATURE, strict=False) if bit]
    zeros = [level for level, bit in zip(levels, CODE_SIGNATURE, strict=False) if not bit]
    if min(ones) - max(zeros) < 30:
        return None
    middle = (min(ones) + max(zeros)) / 2
    number = sum(1 << bit for bit, level in enumerate(levels[8:]) if level > middle)
    return number, max(ones) < 140


class FakeDevDir:
    """A folder that stands in for /dev, to plug fake cameras into."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "v4l/by-id").mkdir(parents=True, exist_ok=True)
        (folder / "names").mkdir(exist_ok=True)

    def plug(self, number: int = 0, state: str = "ok", *, name: str = "Puppet", by_id: bool = True) -> Path:
        """Let a camera appear as /dev/video<number>; return its device file."""
        names = self.folder / "names" / f"video{number}"
        names.mkdir(exist_ok=True)
        (names / "name").write_text(name)
        (names / "index").write_text("0")
        path = self.set(number, state)
        if by_id:
            link = self.folder / "v4l/by-id" / f"usb-{name}-index0"
            link.unlink(missing_ok=True)
            link.symlink_to(path)
        return path

    def set(self, number: int, state: str) -> Path:
        """Change how a camera behaves; return its device file.

        It is written in place: a device file stays the same file.
        """
        path = self.folder / f"video{number}"
        with path.open("r+" if path.exists() else "w") as file:
            file.write(state.ljust(40))
            file.truncate()
        return path

    def set_clock(self, seconds: int) -> None:
        """Put the wall clock off by so many seconds."""
        (self.folder / "clock").write_text(str(seconds))

    def unplug(self, number: int = 0) -> None:
        """Let the camera disappear."""
        (self.folder / f"video{number}").unlink(missing_ok=True)
        for link in (self.folder / "v4l/by-id").glob("*"):
            if not link.exists():
                link.unlink()


class FakeClock(datetime):
    """The wall clock, off by what the file clock says."""

    folder = Path()

    @classmethod
    def off(cls) -> float:
        """Return by how many seconds the clock is off."""
        with contextlib.suppress(OSError, ValueError):
            return float((cls.folder / "clock").read_text())
        return 0.0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> FakeClock:
        """Return the date and time by this clock."""
        return super().now(tz) + timedelta(seconds=cls.off())


def install(folder: Path) -> None:
    """Make `folder` this process's /dev, with fake cameras in it, and its clock."""
    FakeClock.folder, real = folder, time.time
    time.time = lambda: real() + FakeClock.off()
    for module in (segmented, on_demand, snapshot):  # the type itself cannot be changed
        module.datetime = FakeClock  # type: ignore[attr-defined]
    v4l2.DEV, v4l2.SYS_VIDEO4LINUX = folder, folder / "names"
    cv2.VideoCapture = FakeCamera  # type: ignore[misc,assignment] # the vendor's boundary


if __name__ == "__main__":
    from app.application import main
    from app.run import exit_process

    install(Path(sys.argv[1]))
    exit_process(main(sys.argv[2:]))
