"""Builds a ReconnectingSource: how each kind of source that comes and goes is probed, opened and stood in for."""

from __future__ import annotations

import contextlib

from app.errors import SourceError
from app.pipeline.protocols import Source
from app.sources import open_source
from app.sources.reconnecting.hotplug import HotplugCamera, no_probe, server_probe
from app.sources.reconnecting.known_cameras import KnownCameras
from app.sources.reconnecting.source import ReconnectingSource, ReconnectTimeouts, SourceOpeners
from app.sources.v4l2 import listing, path_of
from app.uri import comes_and_goes, is_device, local, shown


def open_reconnecting(
    *,
    camera: int | str | None,
    source: str | None,
    size: tuple[int, int] | None,
    fps: float | None,
    attract: str,
    attract_after: float,
    frozen_after: float,
    known_cameras: KnownCameras | None = None,
    timeouts: ReconnectTimeouts | None = None,
) -> Source:
    """Open what open_source() opens as a ReconnectingSource, and return at once, whether the device is there or not.

    Args:
        camera: As of open_source().
        source: As of open_source(); a camera or a network stream.
        size: (width, height) to ask for, and of the picture until the first one is there.
        fps: The rate to ask for.
        attract: What is shown while the source is away for long, "demo" or a film that check_attract() has passed.
        attract_after: Seconds after which that begins.
        frozen_after: Seconds without a new picture after which the source counts as away.
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
        openers = SourceOpeners(lambda: _open_camera(hotplug, size, fps), open_attract, hotplug.probe)
        name = "camera" if which is None else f"camera {path_of(which)}"
    return ReconnectingSource(
        openers, name=name, size=size, attract_after=attract_after, frozen_after=frozen_after, timeouts=timeouts
    )


def check_attract(attract: str) -> None:
    """Raise SourceError if `attract` is neither "demo" nor a film that can be opened now."""
    if comes_and_goes(None, attract):
        facts = f"it is {shown(attract)}"
        raise SourceError("The attract loop cannot be a camera or a stream", facts, "Use demo or a film.")
    if attract != "demo":
        with contextlib.closing(open_source(camera=None, source=attract, size=None, fps=None, loop=True)):
            pass


def _open_camera(hotplug: HotplugCamera, size: tuple[int, int] | None, fps: float | None) -> Source:
    from app.sources.camera import Camera

    path = hotplug.find()
    if path is None:
        name = "camera" if hotplug.camera is None else f"camera {path_of(hotplug.camera)}"
        raise SourceError(f"There is no {name}", listing(), "Plug it in.")
    camera = Camera.v4l2(str(path), size=size, fps=fps)
    hotplug.remember(path)
    return camera
