"""A cheap look at whether a camera or a server is there, so that its return need not be guessed by opening.

A look gives a token: None while there is nothing, and another one after each return.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from app.errors import SourceError
from app.sources import v4l2
from app.sources.v4l2 import path_of
from app.uri import shown

Look = Callable[[], object]

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
PROBE = 0.4
"""Seconds a server may take to accept a connection."""


class KnownCamera(NamedTuple):
    """What a camera is known by when it comes back."""

    link: Path | None
    name: str
    part: str


KNOWN: dict[int | str | None, KnownCamera] = {}
"""By what was asked for. Of the whole program: a new configuration must find a camera that has moved, too."""


@dataclass
class HotplugCamera:
    """A V4L2 camera as something that is unplugged and comes back, perhaps under another number."""

    asked: int | str | None
    """An index, a path, or None for the first camera there is."""

    def remember(self, path: Path) -> None:
        """This is the camera, open now: keep what it will be known by again."""
        name, part = _named(path)
        KNOWN[self.asked] = KnownCamera(next((link for link in _links() if _same(link, path)), None), name, part)

    def find(self) -> Path | None:
        """Where the camera is now: by its by-id path, else at its own place, else by its name elsewhere.

        If it is nowhere: another one in its place, which somebody has put there.
        """
        known, asked = KNOWN.get(self.asked), None if self.asked is None else path_of(self.asked)
        places = [place for place in (known and known.link, asked) if place is not None and place.exists()]
        found = [*places, *_devices()]
        if known is not None and known.name:
            same = next((place for place in found if _named(place) == (known.name, known.part)), None)
            if same is not None:
                return same
        if asked is None:
            return next(iter(found), None)
        return asked if asked.exists() else None

    def look(self) -> object:
        """The token: the device file itself, with the time it was made."""
        place = self.find()
        with contextlib.suppress(OSError):
            if place is not None:
                state = place.stat()
                return str(place.resolve()), state.st_ino, state.st_ctime_ns
        return None


def server(url: str) -> Look:
    """A look that tells whether the server of `url` accepts connections. Raises SourceError if it is no address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORTS.get(parts.scheme, 0)
    except ValueError:  # what it says may hold a part of a password
        raise SourceError(
            f"{shown(url)} is no address",
            "its host or its port makes no sense",
            "Write it as rtsp://name:password@host:port/path; in a password @ is %40 and / is %2F.",
        ) from None

    def look() -> object:
        try:
            with socket.create_connection((host, port), PROBE):
                return True
        except OSError:
            return None

    return look if host and port else nothing


def nothing() -> object:
    """For what cannot be looked at: a pipeline, a UDP port."""
    return None


def _devices() -> list[Path]:
    paths = [path for path in v4l2.DEV.glob("video*") if re.fullmatch(r"video\d+", path.name)]
    return sorted(paths, key=lambda path: int(path.name[5:]))


def _links() -> list[Path]:
    return sorted((v4l2.DEV / "v4l/by-id").glob("*"))


def _same(link: Path, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return link.resolve() == path.resolve()
    return False


def _named(path: Path) -> tuple[str, str]:
    """The device's name, and which of the files of one device it is: a webcam has a second one, of metadata."""
    folder = v4l2.NAMES / path.resolve().name
    told = ["", ""]
    for number, file in enumerate(("name", "index")):
        with contextlib.suppress(OSError):
            told[number] = (folder / file).read_text(encoding="utf-8", errors="replace").strip()
    return told[0], told[1]
