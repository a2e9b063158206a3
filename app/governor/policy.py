"""Decides which model of a family keeps the asked rate. Decisions alone: no clock, no engine.

It steps down when the engine needs more than its share of the time there is for a frame, or the machine is too hot. It
steps up when the next larger model can be expected to fit with room to spare, and has shown in a trial that it does.
Three things keep it from going back and forth: the two limits lie far apart, two steps are at least MIN_STEP_GAP_S
apart, and a model that had to be given up soon after it was taken is left alone for longer each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

MIN_STEP_GAP_S = 10.0
STEP_DOWN_LOAD, STEP_UP_LOAD = 0.93, 0.75
"""Shares of a frame's time that the engine needs: step down above the first, up below the second."""
STEP_DOWN_LOAD_THROTTLED = 0.85
"""The first of these while clocks are held down, because it will get worse."""
STEP_DOWN_AFTER_S, STEP_UP_AFTER_S = 0.4, 5.0
"""How long it must be so before a step."""
COOL_BELOW_LIMIT_C = 8.0
"""Degrees Celsius below the limit at which the machine counts as cool again."""
THERMAL_LAG_S = 60.0
"""Time that a step has to show in the temperature before the next one on its account."""
MIN_PAUSE_S, MAX_PAUSE_S = 10.0, 600.0
"""How long a model that has been given up is left alone: at first, and at most after doubling with each failure."""
PROBATION_FACTOR = 10.0
"""A model has failed if it was in use for less than so many times its pause."""


@dataclass(frozen=True)
class Observation:
    """What is known at one moment."""

    time: float
    """Seconds, of any clock that only goes forward."""
    load: float | None
    """The engine's time for a frame, as a share of the time there is for one; None: not known just now."""
    temperature: float | None = None
    """Degrees Celsius."""
    throttled: bool = False
    """Whether clocks are held down."""


class Governor:
    """Decides for one engine. Every call is given the time, which only goes forward. Not thread-safe."""

    def __init__(self, sizes: Sequence[float], at: int, *, hot: float | None = None) -> None:
        """Begin with the model numbered `at`.

        Args:
            sizes: What the cost of each model grows with, smallest first.
            at: The model in use.
            hot: The limit of temperature in degrees Celsius; None for no limit.
        """
        self.at = at
        self.why = ""
        """The reason of the last decision that was not to stay, in words."""
        self._sizes, self._hot = sizes, hot
        self._stepped_at = self._cooled_at = -inf
        self._since: dict[str, float | None] = {"late": None, "hot": None, "easy": None}
        self._stepped_up_at: float | None = None  # None if this model was not stepped up to
        self._pauses = [MIN_PAUSE_S] * len(sizes)
        self._retry_at = [-inf] * len(sizes)
        self._ratios: dict[int, float] = {}
        """What a model that was tried and found too slow costs, compared with the next smaller one."""
        self._calm_load = 0.0
        self._left_for_heat = 0  # the largest model that was given up for heat, until it is back

    def decide(self, observation: Observation) -> int:
        """Return 1 for the next larger model, -1 for a smaller one, 0 for the one in use."""
        time, load, temperature = observation.time, observation.load, observation.temperature
        late = load is not None and load > (STEP_DOWN_LOAD_THROTTLED if observation.throttled else STEP_DOWN_LOAD)
        above_limit = temperature - self._hot if temperature is not None and self._hot is not None else -inf
        hot, warm = above_limit > 0, above_limit > -COOL_BELOW_LIMIT_C
        easy = not late and not warm and not observation.throttled and self._fits(observation)
        for name, now in (("late", late), ("hot", hot), ("easy", easy)):
            since = self._since[name]
            self._since[name] = None if not now else time if since is None else since
        if time - self._stepped_at < MIN_STEP_GAP_S:
            return 0
        if self.at > 0 and self._lasts("late", STEP_DOWN_AFTER_S, time):
            self.why = f"it needs {load:.0%} of the time" if load != inf else "it has failed"
            return -1
        if self.at > 0 and self._lasts("hot", STEP_DOWN_AFTER_S, time) and time - self._cooled_at >= THERMAL_LAG_S:
            self.why = f"{temperature:.0f} C"
            return -1
        above = self.at + 1
        if above < len(self._sizes) and time >= self._retry_at[above] and self._lasts("easy", STEP_UP_AFTER_S, time):
            self.why = "there is time to spare"
            self._calm_load = load or 0.0
            return 1
        return 0

    def overloaded(self, observation: Observation) -> bool:
        """Whether even the smallest model has been too slow for some time."""
        return self.at == 0 and self._lasts("late", STEP_UP_AFTER_S, observation.time)

    def _lasts(self, state: str, seconds: float, time: float) -> bool:
        since = self._since[state]
        return since is not None and time - since >= seconds

    def _fits(self, observation: Observation) -> bool:
        """Whether the next larger model is worth a trial."""
        if self.at + 1 >= len(self._sizes):
            return False
        if observation.load is None:  # once the machine is cool again, nothing is a reason to stay below
            return self.at < self._left_for_heat
        if self._sizes[self.at] <= 0:  # the cost of interpolation says nothing about that of networks
            return True
        if (above := self.at + 1) in self._ratios and observation.time >= self._retry_at[above]:
            del self._ratios[above]  # conditions may have changed since
        # Costs grow more slowly than sizes, on a GPU by far. An optimistic guess is cheap: a trial will tell.
        ratio = self._ratios.get(above, (self._sizes[above] / self._sizes[self.at]) ** 0.25)
        return bool(observation.load * ratio < STEP_UP_LOAD)

    def accepts(self, time: float, load: float) -> bool:
        """Decide whether the next larger model is taken, which needed `load` in a trial beside the one in use."""
        above = self.at + 1
        # The trial had what the live picture left of the machine; without the model in use it would have had it all.
        used = self._calm_load if self._sizes[self.at] > 0 else 0.0
        alone = load * (1 - min(used, STEP_DOWN_LOAD))
        if alone < STEP_UP_LOAD:
            return True
        if used > 0:
            self._ratios[above] = alone / used
        self.refused(time)
        return False

    def refused(self, time: float) -> None:
        """Note that the next larger model was too slow in its trial, or cannot be loaded."""
        self._fail(self.at + 1, time)

    def stepped(self, time: float, at: int) -> None:
        """Note that the model numbered `at` is in use now."""
        if at < self.at:
            left, self._stepped_up_at = self._stepped_up_at, None
            if left is not None and time - left < PROBATION_FACTOR * self._pauses[self.at]:
                self._fail(self.at, time)
            else:
                self._pauses[self.at] = MIN_PAUSE_S
                self._retry_at[self.at] = time + MIN_PAUSE_S
            if self._since["hot"] is not None:
                self._cooled_at, self._left_for_heat = time, max(self._left_for_heat, self.at)
        else:
            self._stepped_up_at = time
            self._left_for_heat = self._left_for_heat if at < self._left_for_heat else 0
        self.at, self._stepped_at = at, time
        self._since = dict.fromkeys(self._since)

    def _fail(self, at: int, time: float) -> None:
        self._pauses[at] = min(MAX_PAUSE_S, 2 * self._pauses[at])
        self._retry_at[at] = time + self._pauses[at]
