"""Lists V4L2 capture devices: what they are called, and their formats, sizes and rates."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.platform.startswith("linux"):
    # At the top, not with the first camera that fails: an exhibition's memory should not grow in its second week.
    from linuxpy.video.device import Capability
    from linuxpy.video.device import Device as LinuxpyDevice

DEV = Path("/dev")
SYS_VIDEO4LINUX = Path("/sys/class/video4linux")
"""Here a device's name can be read even where the device itself cannot be opened."""


@dataclass(frozen=True)
class Mode:
    """A format and size of a camera. For a camera that offers any size, the largest stands for all."""

    fourcc: str
    """Four letters, e.g. MJPG or YUYV."""
    size: tuple[int, int]
    """(width, height) in pixels."""
    fps: tuple[float, ...]
    """Rates, the fastest first; empty if the driver does not report them."""

    def __str__(self) -> str:
        rates = ", ".join(f"{rate:g}" for rate in self.fps)
        return f"{self.fourcc} {self.size[0]}x{self.size[1]}" + (f" at {rates} fps" if rates else "")


@dataclass(frozen=True)
class V4l2Device:
    """A camera that this machine has."""

    path: str
    """For example /dev/video0; it may be another one after replugging."""
    name: str
    by_id: str | None = None
    """A path under /dev/v4l/by-id that stays the same."""
    modes: tuple[Mode, ...] = ()
    problem: str = ""
    """Why nothing more is known, e.g. "Permission denied"; else empty."""

    def __str__(self) -> str:
        return f"{self.path} ({self.name}{'; ' + self.problem if self.problem else ''})"


def cameras() -> list[V4l2Device]:
    """Return all capture devices in the order of their numbers; [] if there are none. Never raises."""
    found = map(_inspect, device_files())
    return [device for device in found if device is not None]


def device_files() -> list[Path]:
    """Return all files /dev/videoN in the order of their numbers; some may be no cameras."""
    paths = [path for path in DEV.glob("video*") if re.fullmatch(r"video\d+", path.name)]
    return sorted(paths, key=lambda path: int(path.name[5:]))


def path_of(camera: int | str) -> Path:
    """Return the device file of a camera given by its index or its path."""
    text = str(camera)
    return DEV / f"video{int(text)}" if text.isdecimal() else Path(text)


def listing() -> str:
    """Return what cameras() finds, as one line for a message."""
    found = cameras()
    return "cameras found: " + ", ".join(map(str, found)) if found else "no camera was found on this machine"


def _inspect(path: Path) -> V4l2Device | None:
    """Return the camera behind a device file; None if it captures no pictures, as a codec or a metadata device."""
    by_id = next(
        (str(link) for link in sorted((DEV / "v4l/by-id").glob("*")) if link.resolve() == path.resolve()), None
    )
    name, problem = path.name, ""
    modes: tuple[Mode, ...] = ()
    with contextlib.suppress(OSError):  # elsewhere than on Linux, the driver alone knows
        name = (SYS_VIDEO4LINUX / path.name / "name").read_text().strip() or name
    if not os.access(path, os.R_OK | os.W_OK):
        return V4l2Device(str(path), name, by_id, problem="Permission denied")
    try:
        with LinuxpyDevice(str(path)) as device:
            if Capability.VIDEO_CAPTURE not in device.info.device_capabilities:
                return None
            name = device.info.card.rstrip("\0") or name
            modes = _modes(device.info)
    except Exception as error:  # whatever one driver answers, the list must not fail
        problem = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return V4l2Device(str(path), name, by_id, modes, problem)


def _modes(info: Any) -> tuple[Mode, ...]:
    """Return every format, size and rate that the driver lists, given linuxpy's description of the device."""
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
