"""Which cameras there are: V4L2 capture devices, what they are called and what they can give."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.platform.startswith("linux"):
    # Now, not with the first camera that fails: an exhibition's memory should not grow in its second week.
    from linuxpy.video.device import Capability
    from linuxpy.video.device import Device as Video

DEV = Path("/dev")
NAMES = Path("/sys/class/video4linux")
"""Here a device's name can be read even where the device itself cannot be opened."""


@dataclass(frozen=True)
class Mode:
    """One thing a camera can give. Of a camera that takes any size, the largest stands for all."""

    fourcc: str
    """Four letters, e.g. MJPG or YUYV."""
    size: tuple[int, int]
    """(width, height) in pixels."""
    fps: tuple[float, ...]
    """Rates, the fastest first; empty where the driver does not tell."""

    def __str__(self) -> str:
        rates = ", ".join(f"{rate:g}" for rate in self.fps)
        return f"{self.fourcc} {self.size[0]}x{self.size[1]}" + (f" at {rates} fps" if rates else "")


@dataclass(frozen=True)
class V4l2Device:
    """A camera that this machine has."""

    path: str
    """For example /dev/video0; another one after replugging."""
    name: str
    by_id: str | None = None
    """A path under /dev/v4l/by-id that stays the same."""
    modes: tuple[Mode, ...] = ()
    problem: str = ""
    """Why nothing more is known, e.g. "Permission denied"; else empty."""

    def __str__(self) -> str:
        return f"{self.path} ({self.name}{'; ' + self.problem if self.problem else ''})"


def cameras() -> list[V4l2Device]:
    """All capture devices in the order of their numbers; never raises, [] where there are none."""
    paths = [path for path in DEV.glob("video*") if re.fullmatch(r"video\d+", path.name)]
    found = (_look(path) for path in sorted(paths, key=lambda path: int(path.name[5:])))
    return [device for device in found if device is not None]


def path_of(camera: int | str) -> Path:
    """The device file of a camera given by its index or its path."""
    text = str(camera)
    return DEV / f"video{int(text)}" if text.isdecimal() else Path(text)


def listing() -> str:
    """One line for a message: what cameras() found."""
    found = cameras()
    return "cameras found: " + ", ".join(map(str, found)) if found else "no camera was found on this machine"


def _look(path: Path) -> V4l2Device | None:
    """What is behind one device file; None if it captures no pictures (a codec, a camera's metadata)."""
    by_id = next(
        (str(link) for link in sorted((DEV / "v4l/by-id").glob("*")) if link.resolve() == path.resolve()), None
    )
    name, problem = path.name, ""
    modes: tuple[Mode, ...] = ()
    with contextlib.suppress(OSError):  # on another kind of system the driver alone tells
        name = (NAMES / path.name / "name").read_text().strip() or name
    if not os.access(path, os.R_OK | os.W_OK):
        return V4l2Device(str(path), name, by_id, problem="Permission denied")
    try:
        with Video(str(path)) as video:
            if Capability.VIDEO_CAPTURE not in video.info.device_capabilities:
                return None
            name = video.info.card.rstrip("\0") or name
            modes = _modes(video.info)
    except Exception as error:  # a list must not fail over what one driver answers, whatever that is
        problem = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return V4l2Device(str(path), name, by_id, modes, problem)


def _modes(info: Any) -> tuple[Mode, ...]:
    """Every format, size and rate that the driver lists, from linuxpy's view of it."""
    modes = []
    for pixel_format in dict.fromkeys(image_format.pixel_format for image_format in info.formats):
        for choice in info.format_frame_sizes(pixel_format):
            area = choice.info
            size = (area.max_width, area.max_height) if hasattr(area, "max_width") else (area.width, area.height)
            rates = {
                round(float(rate), 2)
                for interval in info.fps_intervals(pixel_format, *size)
                for rate in (interval.min_fps, interval.max_fps)
                if rate
            }
            fourcc = int(pixel_format).to_bytes(5, "little")[:4].decode("latin-1").strip()
            modes.append(Mode(fourcc, (int(size[0]), int(size[1])), tuple(sorted(rates, reverse=True))))
    return tuple(modes)
