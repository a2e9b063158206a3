"""Where upscaled pictures go, one after the other, in the main thread."""

from __future__ import annotations

from typing import Protocol

from app.pipeline.frame import Picture
from engines.base import UserError


class SinkError(UserError):
    """A window cannot be opened, a recording cannot be written."""


class Sink(Protocol):
    """Takes every picture in turn. All methods are called by the main thread only."""

    stage: str
    """Under which heading its time is counted: "overlay" for what draws into the picture, "sink" for the rest."""

    def write(self, picture: Picture) -> None:
        """Show, keep or draw into the picture; picture.image is lent until write() returns."""

    def idle(self) -> None:
        """Called about every 20 ms while no picture comes, so that a window stays alive."""

    def close(self) -> None:
        """Finish what was begun. Idempotent."""


def cause(error: BaseException) -> BaseException:
    """What PyAV has wrapped, if it has: an error of the file that it was given."""
    return error.__cause__ or error.__context__ or error


def reason(error: BaseException) -> str:
    """What the system says, without the address of the file in it."""
    error = cause(error)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
