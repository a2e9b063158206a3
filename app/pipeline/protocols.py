"""What the pipeline asks of its parts: sources, sinks, engines and who watches them load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from app.pipeline.frame import Frame, OutputFrame
from engines.base import Engine


class Sink(Protocol):
    """Takes every picture in turn. All methods are called by the main thread only."""

    stage: str
    """Under which heading its time is counted: "overlay" for what draws into the picture, "sink" for the rest."""

    def write(self, picture: OutputFrame) -> None:
        """Show, keep or draw into the picture; picture.image is lent until write() returns."""

    def idle(self) -> None:
        """Called about every 20 ms while no picture comes, so that a window stays alive."""

    def close(self) -> None:
        """Finish what was begun. Idempotent."""


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


class Tag(NamedTuple):
    """What travels through the engine with a picture."""

    frame: Frame
    submitted: float


Load = Callable[[tuple[int, int]], Engine[Tag]]


class EngineLoadObserver:
    """What goes on beside the loading of an engine, which may take minutes.

    Does nothing; see app.pipeline.build_preview.
    """

    def show(self, frame: Frame | None) -> None:
        """Called in the main thread every POLL seconds while an engine is being loaded, with the newest frame."""

    @property
    def busy(self) -> bool:
        """Whether the load is at something that takes minutes, and no picture is missed meanwhile."""
        return False

    def cancel(self) -> None:
        """The engine is not wanted any more; the load should fail soon."""

    def replace(self, failed: str) -> bool:
        """An engine has failed while running. True: the next load gives another one."""
        return False
