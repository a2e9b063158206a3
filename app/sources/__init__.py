"""Where frames come from. open_source() picks the kind of source by what was asked for."""

from __future__ import annotations

import contextlib
import difflib
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.errors import SourceError
from app.pipeline.protocols import Source
from app.uri import SCHEMES, SOURCE_KINDS, are_pictures, local, shown
from engines.support.event_log import log_event

log = logging.getLogger(__name__)


def open_source(
    *,
    camera: int | str | None,
    source: str | None,
    size: tuple[int, int] | None,
    fps: float | None,
    loop: bool,
    mirror: bool = False,
    rotate: int = 0,
    controls: Mapping[str, int | str] | None = None,
) -> Source:
    """Open what --camera or --source names; with neither, the first camera that is found, else the demo.

    Args:
        camera: An index or a path.
        source: A file, folder, pattern or address.
        size: (width, height), asked of a camera and kept by the demo; before any rotation.
        fps: The rate, asked of a camera and kept by the demo and by still pictures.
        loop: Whether to repeat what has an end.
        mirror: Whether to exchange left and right in each picture, after any rotation.
        rotate: Degrees to rotate each picture clockwise by: 0, 90, 180 or 270.
        controls: Values to set a V4L2 camera's controls to, by name (app.sources.v4l2_controls).

    Imports the one kind that is opened. Raises SourceError.
    """
    opened = _open(camera, source, size, fps, loop, controls or {})
    if not mirror and not rotate:
        return opened
    from app.sources.orientation import OrientedSource, requested_orientation

    return OrientedSource(opened, requested_orientation(mirror=mirror, rotate=rotate))


def _open(
    camera: int | str | None,
    source: str | None,
    size: tuple[int, int] | None,
    fps: float | None,
    loop: bool,
    controls: Mapping[str, int | str],
) -> Source:
    if camera is not None and source is not None:
        raise SourceError(
            "Both a camera and another source are given", f"camera: {camera}; source: {source}", "Leave one out."
        )
    if source is not None:
        with _system_errors(source):
            return _open_named(source, size, fps, loop, controls)
    if camera is None:
        from app.sources.v4l2 import cameras

        found = sorted(cameras(), key=lambda device: bool(device.problem))  # stable: the usable ones come first
        if not found:
            log_event(log, logging.INFO, "no_camera", "No camera was found: this is the demo")
            return _open_named("demo", size, fps, loop, {})
        camera = found[0].path
    with _system_errors(f"camera {camera}"):
        return _open_v4l2(camera, size, fps, controls)


def _open_v4l2(
    camera: int | str, size: tuple[int, int] | None, fps: float | None, controls: Mapping[str, int | str]
) -> Source:
    from app.sources.camera import Camera

    opened = Camera.v4l2(camera, size=size, fps=fps)
    if controls:
        from app.sources.v4l2 import path_of
        from app.sources.v4l2_controls import set_controls

        try:  # while it streams: some cameras forget what was set before
            set_controls(path_of(camera), controls)
        except BaseException:
            opened.close()
            raise
    return opened


@contextlib.contextmanager
def _system_errors(name: str) -> Iterator[None]:
    """Turn what the system says of a name, such as that it is too long, into a SourceError."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        why = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise SourceError(f"{shown(name)} cannot be opened", why, "Check the name, and who may read it.") from error


def _open_named(
    source: str,
    size: tuple[int, int] | None,
    fps: float | None,
    loop: bool,
    controls: Mapping[str, int | str],
) -> Source:
    if source == "demo":
        from app.sources.demo.camera import DemoCamera

        return DemoCamera(size=size, fps=fps)
    if re.fullmatch(r"csi:\d+", source):
        from app.sources.camera import Camera

        return Camera.csi(int(source[4:]), size=size, fps=fps)
    if source.startswith("gst:"):
        from app.sources.camera import Camera

        return Camera.gstreamer(source[4:].strip())
    scheme, mark, rest = source.partition("://")
    if mark and scheme.lower() in SCHEMES:
        from app.sources.video import VideoSource

        return VideoSource(f"{scheme.lower()}://{rest}", loop=loop)
    path = local(source)
    if path is None:
        near = difflib.get_close_matches(scheme.lower(), SCHEMES, n=1)
        fix = f"Did you mean {near[0]}://?" if near else f"Choose {SOURCE_KINDS}."
        raise SourceError(f"{scheme}:// is not a kind of source", f"the source is {shown(source)}", fix)
    if path.is_char_device():
        return _open_v4l2(str(path), size, fps, controls)
    return _open_path(path, fps, loop)


def _open_path(path: Path, fps: float | None, loop: bool) -> Source:
    if are_pictures(path):
        from app.sources.images import ImageSequence

        return ImageSequence.of(path, fps=fps, loop=loop)
    from app.sources.video import VideoSource

    return VideoSource(path, loop=loop)
