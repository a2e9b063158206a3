"""Builds a ReconnectingSource: how each kind of source that comes and goes is probed, opened and stood in for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping

from app.errors import SourceError
from app.pipeline.protocols import Source
from app.sources import open_source
from app.sources.orientation import Orientation, OrientedSource, requested_orientation
from app.sources.reconnecting.hotplug import HotplugCamera, no_probe, server_probe
from app.sources.reconnecting.known_cameras import KnownCameras
from app.sources.reconnecting.source import DEFAULT_SIZE, ReconnectingSource, ReconnectTimeouts, SourceOpeners
from app.sources.v4l2 import listing, path_of
from app.uri import comes_and_goes, is_device, local, shown
from engines.support.event_log import log_event

log = logging.getLogger(__name__)


def open_reconnecting(
    *,
    camera: int | str | None,
    source: str | None,
    size: tuple[int, int] | None,
    fps: float | None,
    attract: str,
    attract_after: float,
    frozen_after: float,
    mirror: bool = False,
    rotate: int = 0,
    controls: Mapping[str, int | str] | None = None,
    known_cameras: KnownCameras | None = None,
    timeouts: ReconnectTimeouts | None = None,
) -> Source:
    """Open what open_source() opens as a ReconnectingSource, and return at once, whether the device is there or not.

    Args:
        camera: As of open_source().
        source: As of open_source(); a camera or a network stream.
        size: (width, height) to ask for, and of the picture until the first one is there; before any rotation.
        fps: The rate to ask for.
        attract: What is shown while the source is away for long, "demo" or a film that check_attract() has passed.
        attract_after: Seconds after which that begins.
        frozen_after: Seconds without a new picture after which the source counts as away.
        mirror: As of open_source(). The attract loop is made to be shown as it is, and stays so.
        rotate: Likewise.
        controls: As of open_source(), set each time the camera is opened. What it refuses is logged, and its picture
            is shown all the same: another camera may have been put in its place.
        known_cameras: What earlier sources have noted of cameras; written to.
        timeouts: How long to wait between openings, and for one.

    Raises SourceError for an address that makes no sense.
    """

    def open_attract(size: tuple[int, int]) -> Source:
        return open_source(camera=None, source=attract, size=size, fps=fps, loop=True)

    if source is not None and not is_device(source):
        probe = server_probe(source) if "://" in source else no_probe
        openers = SourceOpeners(
            lambda: open_source(camera=None, source=source, size=size, fps=fps, loop=False), open_attract, probe
        )
        name = shown(source)
    else:
        which = camera if source is None else str(local(source))
        hotplug = HotplugCamera(which, known_cameras or KnownCameras())
        openers = SourceOpeners(lambda: _open_camera(hotplug, size, fps, controls or {}), open_attract, hotplug.probe)
        name = "camera" if which is None else f"camera {path_of(which)}"
    if mirror or rotate:
        orientation = requested_orientation(mirror=mirror, rotate=rotate)
        openers = openers._replace(live=_oriented(openers.live, orientation))
        size = orientation.size(size or DEFAULT_SIZE)
    return ReconnectingSource(
        openers, name=name, size=size, attract_after=attract_after, frozen_after=frozen_after, timeouts=timeouts
    )


def _oriented(live: Callable[[], Source], orientation: Orientation) -> Callable[[], Source]:
    return lambda: OrientedSource(live(), orientation)


def check_attract(attract: str) -> None:
    """Raise SourceError if `attract` is neither "demo" nor a film that can be opened now."""
    if comes_and_goes(None, attract):
        facts = f"it is {shown(attract)}"
        raise SourceError("The attract loop cannot be a camera or a stream", facts, "Use demo or a film.")
    if attract != "demo":
        with contextlib.closing(open_source(camera=None, source=attract, size=None, fps=None, loop=True)):
            pass


def _open_camera(
    hotplug: HotplugCamera, size: tuple[int, int] | None, fps: float | None, controls: Mapping[str, int | str]
) -> Source:
    from app.sources.camera import Camera

    path = hotplug.find()
    if path is None:
        name = "camera" if hotplug.camera is None else f"camera {path_of(hotplug.camera)}"
        raise SourceError(f"There is no {name}", listing(), "Plug it in.")
    camera = Camera.v4l2(str(path), size=size, fps=fps)
    hotplug.remember(path)
    if controls:
        from app.sources.v4l2_controls import set_controls

        try:
            set_controls(path, controls)
        except Exception as error:  # whatever a driver answers, there is a picture
            log_event(log, logging.WARNING, "camera_control_refused", "%(reason)s", path=path, reason=str(error))
    return camera
