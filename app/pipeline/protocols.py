"""What the pipeline asks of its parts: sources, engines, overlays, sinks, and who watches an engine load."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

from app.pipeline.frame import Frame, OutputFrame
from engines.base import Engine


class Overlay(Protocol):
    """Draws into every picture. Main thread only."""

    def draw(self, frame: OutputFrame) -> None:
        """Change frame.image in place. It is borrowed until this method returns."""


class Sink(Protocol):
    """Takes every picture: shows it, keeps it or counts it. Main thread only."""

    def write(self, frame: OutputFrame) -> None:
        """Take a picture. Its image is borrowed until this method returns, and must not be changed."""


@runtime_checkable
class PolledSink(Sink, Protocol):
    """A sink with something to do while no picture comes, such as a window. Main thread only."""

    def poll(self) -> None:
        """Handle what is pending, without waiting. Called about every 20 ms while no picture comes."""


class Source(Protocol):
    """A supply of frames. Iterated once, by one thread; close() may be called by another at any time."""

    name: str
    """For messages and the overlay, e.g. "camera /dev/video0" or "walk.mkv"."""
    live: bool
    """True: pictures come whether anyone looks or not, and old ones are worthless. False: none may be lost."""
    paced: bool
    """True: iteration itself takes as long as the pictures last (a camera, a stream). False: as fast as decoded."""
    camera: bool
    """Whether a camera takes these pictures now, with sensor noise and an encoder's blocks. A film has less of both."""
    fps: float
    """The nominal rate in frames a second, 0 if unknown."""

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames in order, until the end or close(). Raises SourceError.

        No wait is longer than 10 s, except for a camera by GStreamer in OpenCV before 4.7, which has no time limits.
        """

    def close(self) -> None:
        """Release the device and make a running iteration end soon. Idempotent."""


class Tag(NamedTuple):
    """What travels through the engine with a frame."""

    frame: Frame
    submitted: float
    """When it was given to the engine, in seconds of time.monotonic()."""


Load = Callable[[tuple[int, int]], Engine[Tag]]
"""Makes an engine for an input size (width, height). Raises EngineError. Called in a thread of its own."""


class EngineLoadObserver:
    """Accompanies the loading of engines, which may take minutes. This one does nothing; BuildPreview does.

    Main thread only.
    """

    def show(self, frame: Frame | None) -> None:
        """Show the newest frame, if there is one. Called about every 20 ms while an engine is being loaded."""

    @property
    def busy(self) -> bool:
        """Whether the load is in a step that takes minutes, during which no picture is missing."""
        return False

    def cancel(self) -> None:
        """Make the load fail soon: the engine is not wanted any more."""

    def replace(self, failed: str) -> bool:
        """Take note that the engine named `failed` has failed while running; True if the next load gives another."""
        return False
