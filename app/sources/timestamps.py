"""Makes a position that only ever grows out of the timestamps a file or a stream really has."""

from __future__ import annotations

import math

JITTER = 1.0
"""Seconds. A step back of up to this is one frame's fault; a longer one is a clock that began anew."""
AHEAD = 10.0
"""Seconds. A live source's step ahead of our own clock by more than this is the same: the sender was started anew, or
its clock was set. Out of a step back to 0 in MPEG-TS FFmpeg makes one of up to 26 hours ahead. So it is in a film of a
format whose clock may begin anew."""
LONGEST = 3600.0
"""Seconds that a picture of any other film may stay. Both limits are ffplay's (ffplay.c, max_frame_duration)."""


class Timeline:
    """Positions in seconds from 0, strictly increasing whatever timestamps come."""

    def __init__(self, step: float, ahead: float = LONGEST) -> None:
        """`step`: seconds between two frames where their timestamps do not tell, more than 0.

        `ahead`: by how many more than our clock's they may go forward at once.
        """
        self._step, self._ahead = step, ahead
        self._shift: float | None = None
        self._came: float | None = None
        self.last: float | None = None
        """The position given last; None before the first."""

    def at(self, stamp: float | None, came: float | None = None) -> float:
        """The position of the next frame, whose own timestamp is `stamp` seconds, or None if it has none.

        `came`: when a live source has given it, in seconds of a clock of ours that only goes forward.
        """
        passed = 0.0 if came is None or self._came is None else came - self._came
        self._came = came
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
            anew = not -JITTER <= position - self.last <= passed + self._ahead
            if anew:
                self._shift = following - stamp
            if anew or position <= self.last:
                position = following
        # Far from 0 a step can be less than what a float resolves.
        self.last = position if position > self.last else math.nextafter(self.last, math.inf)
        return self.last

    def restart(self) -> None:
        """The source begins anew: its next timestamp, whatever it is, follows one step after the last one."""
        self._shift = None
