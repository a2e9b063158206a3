"""Which model of a family to use, so that the asked rate is kept. Decisions alone: no clock, no engine.

Down when the engine needs more than its share of the time there is for a frame, or the machine is too hot. Up when the
next larger model can be expected to fit with room to spare, and has shown in a trial that it does. What keeps it from
going back and forth: the two limits lie far apart, no two steps come within GAP, and a model that had to be given up
soon after it was taken is left alone for longer each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

GAP = 10.0
"""Seconds between two steps, at least."""
FULL, ROOMY = 0.93, 0.75
"""Down above, up below: the share of a frame's time that the engine needs."""
FULL_THROTTLED = 0.85
"""Down above, while clocks are held down: it will get worse."""
SUSTAINED, CALM = 0.4, 5.0
"""Seconds that it must be so, before a step down and before one up."""
COOLER = 8.0
"""Degrees Celsius below the limit at which the machine is cool again."""
LAG = 60.0
"""Seconds that a step has to show in the temperature, before the next one for its sake."""
SHORTEST, LONGEST = 10.0, 600.0
"""A model that has been given up is left alone for so many seconds; after each failure twice as long."""
HELD = 10.0
"""It has failed if it was in use for less than so many times that pause."""


@dataclass(frozen=True)
class Observation:
    """What is known at a moment."""

    time: float
    """Seconds, of any clock that only goes forward."""
    load: float | None
    """The engine's time for a frame, as a share of the time there is for one; None: not known just now."""
    temperature: float | None = None
    """Degrees Celsius."""
    throttled: bool = False
    """Whether clocks are held down."""


class Governor:
    """For one engine. Every call tells the time, which only goes forward."""

    def __init__(self, sizes: Sequence[float], at: int, *, hot: float | None = None) -> None:
        """`sizes`: what the cost of each model grows with, smallest first; `at`: the one in use; `hot`: the limit in
        degrees Celsius."""
        self.at = at
        self.why = ""
        """Of the last decision that was not to stay, in words."""
        self._sizes, self._hot = sizes, hot
        self._stepped = self._cooled = -inf
        self._since: dict[str, float | None] = {"late": None, "hot": None, "easy": None}
        self._rose: float | None = None  # when this model was stepped up to; None: it was not
        self._pauses = [SHORTEST] * len(sizes)
        self._after = [-inf] * len(sizes)
        self._ratios: dict[int, float] = {}
        """What a model costs compared with the next smaller one, as tried and found too slow."""
        self._calm_load = 0.0
        self._left = 0  # the largest model that was left for the sake of heat, until it is back

    def decide(self, look: Observation) -> int:
        """1 for the next larger model, -1 for a smaller one, 0 for this one."""
        limit = FULL_THROTTLED if look.throttled else FULL
        late = look.load is not None and look.load > limit
        hot = self._hot is not None and look.temperature is not None and look.temperature > self._hot
        warm = self._hot is not None and look.temperature is not None and look.temperature > self._hot - COOLER
        easy = not late and not warm and not look.throttled and self._fits(look)
        for name, now in (("late", late), ("hot", hot), ("easy", easy)):
            self._since[name] = (self._since[name] if self._since[name] is not None else look.time) if now else None
        if look.time - self._stepped < GAP:
            return 0
        if self.at > 0 and self._lasts("late", SUSTAINED, look):
            self.why = f"it needs {look.load:.0%} of the time" if look.load != inf else "it has failed"
            return -1
        if self.at > 0 and self._lasts("hot", SUSTAINED, look) and look.time - self._cooled >= LAG:
            self.why = f"{look.temperature:.0f} C"
            return -1
        if self.at + 1 < len(self._sizes) and look.time >= self._after[self.at + 1] and self._lasts("easy", CALM, look):
            self.why = "there is time for it"
            self._calm_load = look.load or 0.0
            return 1
        return 0

    def overloaded(self, look: Observation) -> bool:
        """Whether even the smallest model has been too slow for some time."""
        return self.at == 0 and self._lasts("late", CALM, look)

    def _lasts(self, what: str, seconds: float, look: Observation) -> bool:
        since = self._since[what]
        return since is not None and look.time - since >= seconds

    def _fits(self, look: Observation) -> bool:
        """Whether the next larger model is worth a trial."""
        if self.at + 1 >= len(self._sizes):
            return False
        if look.load is None:  # once it is cool again there is no reason to stay below
            return self.at < self._left
        if self._sizes[self.at] <= 0:  # interpolation tells nothing of networks
            return True
        if (above := self.at + 1) in self._ratios and look.time >= self._after[above]:
            del self._ratios[above]  # the machine may be another by now
        # Costs grow more slowly than sizes, on a GPU by far. Hope is cheap: a trial will tell.
        ratio = self._ratios.get(above, (self._sizes[above] / self._sizes[self.at]) ** 0.25)
        return bool(look.load * ratio < ROOMY)

    def accepts(self, time: float, load: float) -> bool:
        """Whether the next larger model, that needed `load` in a trial beside the one in use, is taken."""
        above = self.at + 1
        # The trial had what the picture left of the machine: without the model in use it would have had all of it.
        used = self._calm_load if self._sizes[self.at] > 0 else 0.0
        alone = load * (1 - min(used, FULL))
        if alone < ROOMY:
            return True
        if used > 0:
            self._ratios[above] = alone / used
        self.refused(time)
        return False

    def refused(self, time: float) -> None:
        """The next larger model was too slow in its trial, or cannot be loaded."""
        self._fail(self.at + 1, time)

    def stepped(self, time: float, at: int) -> None:
        """It has been done."""
        if at < self.at:
            left, self._rose = self._rose, None
            if left is not None and time - left < HELD * self._pauses[self.at]:
                self._fail(self.at, time)
            else:
                self._pauses[self.at] = SHORTEST
                self._after[self.at] = time + SHORTEST
            if self._since["hot"] is not None:
                self._cooled, self._left = time, max(self._left, self.at)
        else:
            self._rose = time
            self._left = self._left if at < self._left else 0
        self.at, self._stepped = at, time
        self._since = dict.fromkeys(self._since)

    def _fail(self, at: int, time: float) -> None:
        self._pauses[at] = min(LONGEST, 2 * self._pauses[at])
        self._after[at] = time + self._pauses[at]
