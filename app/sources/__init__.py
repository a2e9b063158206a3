"""Where frames come from. open_source() picks the kind by what was asked for."""

from __future__ import annotations

import contextlib
import difflib
import glob
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from app.pipeline.frame import Frame
from app.uri import local, shown
from engines.base import UserError

log = logging.getLogger(__name__)

SCHEMES = ("rtsp", "rtsps", "http", "https", "udp")
STILLS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""How the name of a still picture ends."""
KINDS = "a video file, a folder or pattern of pictures, rtsp://, http://, udp://, csi:0, gst:PIPELINE, demo"


class SourceError(UserError):
    """A camera, file or stream cannot be opened, or has failed on the way."""


class Source(Protocol):
    """A supply of frames. Iterated once, by one thread; close() may be called by another at any time."""

    name: str
    """For messages and the overlay, e.g. "camera /dev/video0" or "walk.mkv"."""
    live: bool
    """True: pictures come whether anyone looks or not, and old ones are worthless. False: none may be lost."""
    paced: bool
    """True: iteration itself takes as long as the pictures last (a camera, a stream). False: as fast as decoded."""
    camera: bool
    """Whether a camera takes these pictures now: there are noise and an encoder's blocks in them. A film has less."""
    fps: float
    """The nominal rate, 0 if unknown."""

    def __iter__(self) -> Iterator[Frame]:
        """Frames in order. Returns at the end or after close(); raises SourceError. No wait is longer than
        10 s, but that for a camera by GStreamer in OpenCV before 4.7, which knows no limits."""

    def close(self) -> None:
        """Let the device go. Idempotent; makes a running iteration end soon."""


def open_source(
    *, camera: int | str | None, source: str | None, size: tuple[int, int] | None, fps: float | None, loop: bool
) -> Source:
    """What --camera or --source names; with neither, the first camera that is found, else the demo.

    `size` (width, height) and `fps` are asked of a camera and kept by the demo, `fps` also by a folder of pictures;
    `loop` repeats what has an end. Imports the one kind that is opened, and raises SourceError.
    """
    if camera is not None and source is not None:
        raise SourceError(
            "Both a camera and another source are asked for", f"camera: {camera}; source: {source}", "Leave one out."
        )
    if source is not None:
        with _told(source):
            return _open_named(source, size, fps, loop)
    if camera is None:
        from app.sources.v4l2 import cameras

        found = sorted(cameras(), key=lambda device: bool(device.problem))  # stable: the usable ones come first
        if not found:
            log.info("No camera was found: this is the demo")
            return _open_named("demo", size, fps, loop)
        camera = found[0].path
    from app.sources.camera import Camera

    with _told(f"camera {camera}"):
        return Camera.v4l2(camera, size=size, fps=fps)


def comes_and_goes(camera: int | str | None, source: str | None) -> bool:
    """Whether it is a camera or a network stream. A file that is missing is a mistake, and stays one."""
    if camera is not None or source is None:
        return True
    scheme = source.partition("://")[0].lower()
    return scheme in SCHEMES or bool(re.match(r"csi:\d+$|gst:", source)) or is_device(source)


def is_device(source: str) -> bool:
    """Whether `source` names a device file. One that may not be looked at is told of when it is opened."""
    path = local(source)
    with contextlib.suppress(OSError, ValueError):
        return path is not None and path.is_char_device()
    return False


def are_pictures(path: Path) -> bool:
    """Whether it is a folder, a pattern or a file of still pictures, and no film. Raises OSError, ValueError."""
    return path.is_dir() or path.suffix.lower() in STILLS or (glob.has_magic(str(path)) and not path.exists())


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Whatever the system says of a name: that it is too long, or in a folder that may not be looked into."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise SourceError(f"{shown(name)} cannot be opened", why, "Check the name, and who may read it.") from error


def _open_named(source: str, size: tuple[int, int] | None, fps: float | None, loop: bool) -> Source:
    if source == "demo":
        from app.sources.demo.camera import Demo

        return Demo(size=size, fps=fps)
    if re.fullmatch(r"csi:\d+", source):
        from app.sources.camera import Camera

        return Camera.csi(int(source[4:]), size=size, fps=fps)
    if source.startswith("gst:"):
        from app.sources.camera import Camera

        return Camera.gstreamer(source[4:].strip())
    scheme, mark, rest = source.partition("://")
    if mark and scheme.lower() in SCHEMES:
        from app.sources.video import Stream

        return Stream(f"{scheme.lower()}://{rest}", loop=loop)
    path = local(source)
    if path is None:
        near = difflib.get_close_matches(scheme.lower(), SCHEMES, n=1)
        fix = f"Did you mean {near[0]}://?" if near else f"Choose {KINDS}."
        raise SourceError(f"{scheme}:// is not a kind of source", f"asked for {shown(source)}", fix)
    return _open_path(path, size, fps, loop)


def _open_path(path: Path, size: tuple[int, int] | None, fps: float | None, loop: bool) -> Source:
    if path.is_char_device():
        from app.sources.camera import Camera

        return Camera.v4l2(str(path), size=size, fps=fps)
    if are_pictures(path):
        from app.sources.images import Pictures

        return Pictures.of(path, fps=fps, loop=loop)
    from app.sources.video import Stream

    return Stream(path, loop=loop)
