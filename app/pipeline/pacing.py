"""Pace: when a frame may go on. A file decodes faster than it plays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

from app.pipeline.frame import Frame


def played(
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
