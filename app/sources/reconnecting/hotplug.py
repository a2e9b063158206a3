"""Cheap probes of whether a camera or a server is there, so that its return need not be found by opening it.

A probe returns a token: None while there is nothing, and another token after each return.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from app.errors import SourceError
from app.sources import v4l2
from app.sources.reconnecting.known_cameras import CameraIdentity, KnownCameras
from app.sources.v4l2 import path_of
from app.uri import shown

Probe = Callable[[], object]

DEFAULT_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
CONNECT_TIMEOUT_S = 0.4
"""Time that a server may take to accept a connection."""


class HotplugCamera:
    """A V4L2 camera that may be unplugged and come back, perhaps under another number.

    Reader threads call its methods, one after another.
    """

    def __init__(self, camera: int | str | None, known: KnownCameras) -> None:
        """`camera`: an index, a path, or None for the first camera there is; `known` is shared and written to."""
        self.camera = camera
        self._known = known

    def remember(self, path: Path) -> None:
        """Note what the camera that is open now at `path` will be recognised by."""
        link = next((link for link in _links() if _same(link, path)), None)
        self._known[self.camera] = CameraIdentity(link, *_name_and_number(path))

    def find(self) -> Path | None:
        """Return where the camera is now: at its by-id link, else at its own place, else by its name elsewhere.

        If it is nowhere, return another one that somebody has put in its place; None if there is none.
        """
        known, own_place = self._known[self.camera], None if self.camera is None else path_of(self.camera)
        places = [place for place in (known and known.link, own_place) if place is not None and place.exists()]
        found = [*places, *v4l2.device_files()]
        if known is not None and known.name:
            same = next((place for place in found if _name_and_number(place) == (known.name, known.number)), None)
            if same is not None:
                return same
        if own_place is None:
            return next(iter(found), None)
        return own_place if own_place.exists() else None

    def probe(self) -> object:
        """Return the token: which device file it is, and when that was made."""
        place = self.find()
        with contextlib.suppress(OSError):
            if place is not None:
                state = place.stat()
                return str(place.resolve()), state.st_ino, state.st_ctime_ns
        return None


def server_probe(url: str) -> Probe:
    """Return a probe of whether the server of `url` accepts connections. Raises SourceError if it is no address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:  # whose text may contain a part of a password
        raise SourceError(
            f"{shown(url)} is not an address",
            "its host or its port is not valid",
            "Write it as rtsp://name:password@host:port/path; in a password @ is %40 and / is %2F.",
        ) from None

    def probe() -> object:
        try:
            with socket.create_connection((host, port), CONNECT_TIMEOUT_S):
                return True
        except OSError:
            return None

    return probe if host and port else no_probe


def no_probe() -> object:
    """Stand in for the probe of what cannot be probed: a pipeline, a UDP port."""
    return None


def _links() -> list[Path]:
    return sorted((v4l2.DEV / "v4l/by-id").glob("*"))


def _same(link: Path, path: Path) -> bool:
    with contextlib.suppress(OSError):
        return link.resolve() == path.resolve()
    return False


def _name_and_number(path: Path) -> tuple[str, str]:
    folder = v4l2.SYS_VIDEO4LINUX / path.resolve().name
    texts = ["", ""]
    for number, file in enumerate(("name", "index")):
        with contextlib.suppress(OSError):
            texts[number] = (folder / file).read_text(encoding="utf-8", errors="replace").strip()
    return texts[0], texts[1]
