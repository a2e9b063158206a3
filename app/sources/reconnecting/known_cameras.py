"""What is known of cameras that have been open, so that they are recognised when they come back."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class CameraIdentity(NamedTuple):
    """What a camera is recognised by when it comes back."""

    link: Path | None
    """Its link under /dev/v4l/by-id, if it has one."""
    name: str
    number: str
    """Which of the files of one device it is: a webcam has a second one, for metadata."""


class KnownCameras:
    """The cameras that have been open, by what was asked for: an index, a path, or None for the first one there is.

    It outlives a session, so that a new configuration finds a camera that has moved meanwhile. Any thread may use it:
    each access is a single operation on a dictionary.
    """

    def __init__(self) -> None:
        self._identities: dict[int | str | None, CameraIdentity] = {}

    def __getitem__(self, camera: int | str | None) -> CameraIdentity | None:
        return self._identities.get(camera)

    def __setitem__(self, camera: int | str | None, identity: CameraIdentity) -> None:
        self._identities[camera] = identity
