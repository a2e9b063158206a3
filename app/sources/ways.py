"""open_lasting(): which sources come and go, and how each of them is looked for, opened and stood in for."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from app.sources import SCHEMES, Source, SourceError, open_source
from app.sources.container import shown
from app.sources.devices import listing, path_of
from app.sources.lasting import Lasting, Ways
from app.sources.presence import Plug, nothing, server


def comes_and_goes(camera: int | str | None, source: str | None) -> bool:
    """Whether it is a camera or a network stream. A file that is missing is a mistake, and stays one."""
    if camera is not None or source is None:
        return True
    scheme = source.partition("://")[0].lower()
    return scheme in SCHEMES or bool(re.match(r"csi:\d+$|gst:", source)) or Path(source).is_char_device()


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
    """What open_source() opens, as a Lasting: returns at once, whether the device is there or not.

    `attract`: "demo" or a film, shown after `attract_after` seconds; it is opened now and again to be sure that it can
    be. Raises SourceError if it cannot.
    """

    def attract_loop(like: tuple[int, int]) -> Source:
        return open_source(camera=None, source=attract, size=like, fps=fps, loop=True)

    if comes_and_goes(None, attract):
        raise SourceError("The attract loop cannot be a camera or a stream", f"it is {attract}", "Use demo or a film.")
    if attract != "demo":
        with contextlib.closing(attract_loop(size or (640, 360))):
            pass
    if source is not None and not Path(source).is_char_device():
        look = server(source) if "://" in source else nothing
        ways = Ways(lambda: open_source(camera=None, source=source, size=size, fps=fps, loop=False), attract_loop, look)
        name = shown(source)
    else:
        asked = camera if source is None else source
        plug = Plug(asked)
        ways = Ways(lambda: _plugged(plug, size, fps), attract_loop, plug.look)
        name = "camera" if asked is None else f"camera {path_of(asked)}"
    return Lasting(ways, name=name, size=size, attract_after=attract_after, frozen_after=frozen_after)


def _plugged(plug: Plug, size: tuple[int, int] | None, fps: float | None) -> Source:
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
