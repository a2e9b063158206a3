"""open_lasting(): which sources come and go, and how each of them is looked for, opened and stood in for."""

from __future__ import annotations

import contextlib

from app.errors import SourceError
from app.pipeline.protocols import Source
from app.sources import open_source
from app.sources.reconnecting.hotplug import HotplugCamera, nothing, server
from app.sources.reconnecting.source import ReconnectingSource, SourceOpeners
from app.sources.v4l2 import listing, path_of
from app.uri import comes_and_goes, is_device, local, shown


def open_lasting(
    *,
    camera: int | str | None,
    source: str | None,
    size: tuple[int, int] | None,
    fps: float | None,
    attract: str,
    attract_after: float,
    frozen_after: float,
) -> Source:
    """What open_source() opens, as a ReconnectingSource: returns at once, whether the device is there or not.

    `attract`: "demo" or a film, as check_attract() has it, shown after `attract_after` seconds. Raises SourceError for
    an address that makes no sense.
    """

    def attract_loop(like: tuple[int, int]) -> Source:
        return open_source(camera=None, source=attract, size=like, fps=fps, loop=True)

    if source is not None and not is_device(source):
        look = server(source) if "://" in source else nothing
        ways = SourceOpeners(
            lambda: open_source(camera=None, source=source, size=size, fps=fps, loop=False), attract_loop, look
        )
        name = shown(source)
    else:
        asked = camera if source is None else str(local(source))
        plug = HotplugCamera(asked)
        ways = SourceOpeners(lambda: _plugged(plug, size, fps), attract_loop, plug.look)
        name = "camera" if asked is None else f"camera {path_of(asked)}"
    return ReconnectingSource(ways, name=name, size=size, attract_after=attract_after, frozen_after=frozen_after)


def check_attract(attract: str) -> None:
    """Raise SourceError if `attract` is neither "demo" nor a film that can be opened now."""
    if comes_and_goes(None, attract):
        told = f"it is {shown(attract)}"
        raise SourceError("The attract loop cannot be a camera or a stream", told, "Use demo or a film.")
    if attract != "demo":
        with contextlib.closing(open_source(camera=None, source=attract, size=None, fps=None, loop=True)):
            pass


def _plugged(plug: HotplugCamera, size: tuple[int, int] | None, fps: float | None) -> Source:
    from app.sources.camera import Camera

    path = plug.find()
    if path is None:
        asked = f"camera {path_of(plug.asked)}" if plug.asked is not None else ""
        raise SourceError(
            f"There is no {asked}" if plug.asked is not None else "There is no camera", listing(), "Plug it in."
        )
    camera = Camera.v4l2(str(path), size=size, fps=fps)
    plug.remember(path)
    return camera
