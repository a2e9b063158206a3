"""When a frame may go on. A file decodes faster than it plays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from app.config.schema import Config
from app.pipeline.frame import Frame
from app.pipeline.protocols import Source
from app.pipeline.stats import Stats


def paced(
    frames: Iterable[Frame], stop: threading.Event, waits: Callable[[float], None] = lambda until: None
) -> Iterator[Frame]:
    """The `frames` of a source at the rate of their positions; ends early when `stop` is set.

    `waits` is told until when a frame that is at hand is kept, in seconds of time.monotonic().
    captured becomes the moment a frame is let go, as if a camera had just taken it. A player that has fallen
    behind by more than half a second goes on from where it is instead of rushing after the clock.
    """
    start: float | None = None
    for frame in frames:
        now = time.monotonic()
        if start is None or now - (start + frame.position) > 0.5:
            start = now - frame.position
        waits(start + frame.position)
        if stop.wait(max(0.0, start + frame.position - now)):
            frame.release()
            return
        frame.captured = time.monotonic()
        yield frame


class PacingPolicy:
    """That of one run, as asked for; else live for a camera, a film's own, and fast where nobody looks."""

    def __init__(self, config: Config, source: Source, stats: Stats) -> None:
        """`stats` tell the rate of a live source that does not tell its own."""
        usual = "live" if source.live else "fast" if config.output.headless else "source"
        self._kind = usual if config.input.pace == "auto" else config.input.pace
        self._wanted, self._source, self._stats = config.governor.fps, source, stats

    @property
    def lossless(self) -> bool:
        """Whether each picture is waited for; of a live source the newest counts."""
        return self._kind != "live"

    @property
    def paced(self) -> bool:
        """Whether the pipeline has to hold pictures back until they are due; some sources do so themselves."""
        return self._kind != "fast" and not self._source.paced

    def rate(self) -> float:
        """The one to keep, in frames a second; 0: none is known.

        Measured only live: elsewhere pictures come as fast as they are taken.
        """
        if self._wanted or self._kind == "fast":
            return self._wanted or 0.0
        return self._source.fps or (self._stats.arrivals.steady() if self._kind == "live" else 0.0)
