"""Turns the timestamps that files and streams really have into positions that only grow."""

from __future__ import annotations

import math

MAX_STEP_BACK_S = 1.0
"""A step back of up to this is one frame's fault; a longer one is a clock that was restarted."""
MAX_LIVE_STEP_AHEAD_S = 10.0
"""A step of a live source that is ahead of our own clock by more than this means that the sender was restarted, or its
clock was set: FFmpeg turns a step back to 0 in MPEG-TS into one of up to 26 hours ahead. The same holds for films in
formats whose clock may restart."""
MAX_FRAME_DURATION_S = 3600.0
"""Time that a picture of any other film may stay. Both limits are ffplay's (ffplay.c, max_frame_duration)."""


class Timeline:
    """Positions in seconds from 0, strictly increasing whatever timestamps come. Not thread-safe."""

    def __init__(self, step: float, ahead: float = MAX_FRAME_DURATION_S) -> None:
        """Begin at 0.

        Args:
            step: Seconds between two frames without usable timestamps; more than 0.
            ahead: Seconds by which timestamps may get ahead of our own clock at once.
        """
        self._step, self._ahead = step, ahead
        self._shift: float | None = None
        self._arrived: float | None = None
        self.last: float | None = None
        """The last position; None before the first one."""

    def at(self, stamp: float | None, arrived: float | None = None) -> float:
        """Return the position of the next frame, in seconds.

        Args:
            stamp: The frame's own timestamp in seconds; None if it has none.
            arrived: When a live source gave it, in seconds of a clock of ours that only goes forward.
        """
        elapsed = 0.0 if arrived is None or self._arrived is None else arrived - self._arrived
        self._arrived = arrived
        if stamp is not None and not math.isfinite(stamp):
            stamp = None
        if self.last is None:
            self.last = 0.0
            self._shift = None if stamp is None else -stamp
            return self.last
        following = self.last + self._step
        if stamp is None:
            position = following
        elif self._shift is None:
            position, self._shift = following, following - stamp
        else:
            position = stamp + self._shift
            restarted = not -MAX_STEP_BACK_S <= position - self.last <= elapsed + self._ahead
            if restarted:
                self._shift = following - stamp
            if restarted or position <= self.last:
                position = following
        # Far from 0 a step can be less than what a float resolves.
        self.last = position if position > self.last else math.nextafter(self.last, math.inf)
        return self.last

    def restart(self) -> None:
        """Let the next timestamp, whatever it is, be one step after the last one: the source begins again."""
        self._shift = None
