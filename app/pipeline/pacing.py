"""When a frame may go on: a file decodes faster than it plays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from app.config.schema import Config
from app.pipeline.frame import Frame
from app.pipeline.protocols import Source
from app.pipeline.stats import Stats

MAX_LAG_S = 0.5
"""How far playback may fall behind before it goes on from where it is instead of catching up."""


class DueTime:
    """The time until which no picture is missing, for a watchdog. Set and read by any thread.

    The next picture is at hand and waits for its turn, the last one is still being shown, or an engine is being built.
    """

    def __init__(self) -> None:
        self.at = 0.0
        """In seconds of time.monotonic()."""

    def set(self, at: float) -> None:
        """Set the time, in seconds of time.monotonic()."""
        self.at = at


def paced(
    frames: Iterable[Frame], stop: threading.Event, on_wait: Callable[[float], None] | None = None
) -> Iterator[Frame]:
    """Yield the `frames` of a source at the rate of their positions; end early when `stop` is set.

    `on_wait` is called with the time until which a frame is kept back, in seconds of time.monotonic().
    `captured` becomes the moment a frame is let go, as if a camera had just taken it.
    """
    start: float | None = None
    for frame in frames:
        now = time.monotonic()
        if start is None or now - (start + frame.position) > MAX_LAG_S:
            start = now - frame.position
        if on_wait is not None:
            on_wait(start + frame.position)
        if stop.wait(max(0.0, start + frame.position - now)):
            frame.release()
            return
        frame.captured = time.monotonic()
        yield frame


class PacingPolicy:
    """The pace of one run: what the configuration says, or live, as the source plays, or as fast as possible.

    `input.pace: auto` means live for a camera, the source's own rate for a film in a window, and fast without a window.
    """

    def __init__(self, config: Config, source: Source, stats: Stats) -> None:
        """Choose the pace. `stats` measure the rate of a live source that does not say its own."""
        usual = "live" if source.live else "fast" if config.output.headless else "source"
        self._kind = usual if config.input.pace == "auto" else config.input.pace
        self._wanted, self._source, self._stats = config.governor.fps, source, stats

    @property
    def lossless(self) -> bool:
        """Whether no frame may be dropped; at a live pace only the newest counts."""
        return self._kind != "live"

    @property
    def paced(self) -> bool:
        """Whether the pipeline has to hold frames back until they are due; some sources do so themselves."""
        return self._kind != "fast" and not self._source.paced

    def rate(self) -> float:
        """Return the rate that the engine has to keep up with, in frames a second; 0 if none is known.

        It is measured at a live pace only: otherwise frames come as fast as they are taken.
        """
        if self._wanted or self._kind == "fast":
            return self._wanted or 0.0
        return self._source.fps or (self._stats.arrivals.steady() if self._kind == "live" else 0.0)
