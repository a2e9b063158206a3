"""The governor's decisions, against machines that are slower or faster than it thinks; and what is told of them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.governor import driver
from app.governor.driver import GovernorDriver
from app.governor.policy import (
    COOL_BELOW_LIMIT_C,
    MAX_PAUSE_S,
    MIN_STEP_GAP_S,
    STEP_DOWN_AFTER_S,
    STEP_DOWN_LOAD,
    STEP_UP_AFTER_S,
    THERMAL_LAG_S,
    Governor,
    Observation,
)
from app.system.sensors import Reading
from engines.catalog.ladder import Rung
from engines.errors import EngineError

TICK = 0.1


@dataclass
class Machine:
    """Models with their true loads, on a machine that others use too."""

    loads: list[float]
    at: int
    sizes: list[float]
    hot: float | None = 90.0
    noise: float = 0.0
    honest: bool = True
    """Whether a trial tells the truth."""
    now: float = 0.0
    steps: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.governor = Governor(self.sizes, self.at, hot=self.hot)
        self.random = random.Random(1)

    def run(self, seconds: float, busy: float = 1.0, temperature: float = 50.0, throttled: bool = False) -> None:
        """`busy`: how many times longer everything takes."""
        until = self.now + seconds
        while self.now < until:
            self.now += TICK
            load = self.loads[self.at] * busy * (1 + self.random.uniform(-self.noise, self.noise))
            step = self.governor.decide(Observation(self.now, load, temperature, throttled))
            assert 0 <= self.at + step < len(self.loads)
            if step > 0:
                # A trial beside the model in use gets what that one leaves.
                left = 1 - min(0.95, self.loads[self.at] * busy)
                trial = self.loads[self.at + 1] * busy / left if self.honest else 0.1
                if not self.governor.accepts(self.now, trial):
                    continue
            if step:
                self.at = self.at + 1 if step > 0 else 0  # as engines.failover.model_switcher does
                self.governor.stepped(self.now, self.at)
                self.steps.append((self.now, self.at))


def machine(*loads: float, at: int = 0, **more: object) -> Machine:
    return Machine(list(loads), at, [4.0**n for n in range(len(loads))], **more)  # type: ignore[arg-type]


spans = st.tuples(st.floats(0.2, 60), st.floats(0.2, 8), st.floats(40, 110), st.booleans())


@pytest.mark.integration
@settings(max_examples=150)
@given(
    loads=st.lists(st.floats(0.01, 2), min_size=1, max_size=4),
    at=st.integers(0, 3),
    honest=st.booleans(),
    spans=st.lists(spans, max_size=12),
)
def test_never_two_steps_within_ten_seconds(
    loads: list[float], at: int, honest: bool, spans: list[tuple[float, float, float, bool]]
) -> None:
    made = machine(*sorted(loads), at=min(at, len(loads) - 1), noise=0.2, honest=honest)
    for seconds, busy, temperature, throttled in spans:
        made.run(seconds, busy, temperature, throttled)
    assert all(later - earlier >= MIN_STEP_GAP_S for (earlier, _), (later, _) in pairwise(made.steps))


@pytest.mark.integration
@settings(max_examples=60)
@given(
    loads=st.lists(st.floats(0.02, 2), min_size=2, max_size=4),
    at=st.integers(0, 3),
    busy=st.floats(0.5, 3),
    noise=st.floats(0, 0.1),
)
def test_a_constant_load_is_settled_on_once(loads: list[float], at: int, busy: float, noise: float) -> None:
    """Down once, if it must be, up to where it belongs, and then no more."""
    made = machine(*sorted(loads), at=min(at, len(loads) - 1), noise=noise)
    made.run(1200, busy)
    gears = [gear for _, gear in made.steps]
    assert gears == sorted(set(gears))
    assert made.at == 0 or made.loads[made.at] * busy <= STEP_DOWN_LOAD * (1 + noise)


@pytest.mark.integration
@settings(max_examples=40)
@given(low=st.floats(0.05, 0.4), high=st.floats(1.0, 3.0))
def test_a_model_that_deceives_in_trials_is_left_alone_for_longer_each_time(low: float, high: float) -> None:
    made = machine(low, high, honest=False)
    made.run(4 * MAX_PAUSE_S)
    taken = [moment for moment, gear in made.steps if gear == 1]
    pauses = [later - earlier for earlier, later in pairwise(taken)]
    assert pauses == sorted(pauses) or all(
        later >= earlier - TICK or later >= MAX_PAUSE_S for earlier, later in pairwise(pauses)
    )
    assert len(taken) <= 10, "an hour has fewer of them than the first ten minutes would have without"


def test_down_at_once_and_up_when_the_load_is_gone() -> None:
    made = machine(0.25, 0.5, 0.7, at=2)
    made.run(30)
    assert not made.steps
    begun = made.now
    made.run(8, busy=1.4)  # 0.98 of the time there is
    assert made.at == 0 and made.steps[0][0] - begun <= STEP_DOWN_AFTER_S + 2 * TICK
    made.run(60, busy=1.4)
    assert made.at == 1, "0.7 fits"
    made.run(60)
    assert [gear for _, gear in made.steps] == [0, 1, 2]


@pytest.mark.parametrize(("second", "taken"), [(0.7, True), (0.8, False), (1.5, False)])
def test_up_only_if_it_fits_with_room(second: float, taken: bool) -> None:
    made = machine(0.2, second)
    made.run(300)
    assert made.at == int(taken)


def test_a_short_stall_changes_nothing() -> None:
    made = machine(0.2, 0.7, at=1)
    made.run(20)
    made.run(STEP_DOWN_AFTER_S / 2, busy=10)
    made.run(20)
    assert not made.steps


def test_heat_steps_down_slowly_and_not_up_before_it_is_cool() -> None:
    made = machine(0.1, 0.2, 0.3, at=2)
    made.run(30, temperature=95)
    assert made.at == 0
    made.run(200, temperature=90 - COOL_BELOW_LIMIT_C / 2)
    assert made.at == 0
    made.run(200, temperature=60)
    assert made.at == 2
    cold = machine(0.1, 0.2, 0.3, at=2, hot=None)
    cold.run(60, temperature=120)
    assert cold.at == 2


def test_a_step_for_heat_is_given_time_to_show() -> None:
    governor, steps = Governor([0, 1, 4], 2, hot=90), []
    for tick in range(round(2.5 * THERMAL_LAG_S / TICK)):
        if governor.decide(Observation(tick * TICK, 0.3, temperature=95)) < 0:
            governor.stepped(
                tick * TICK, governor.at - 1
            )  # as engines.failover.model_switcher does where bicubic is one of the gears
            steps.append(tick * TICK)
    assert len(steps) == 2 and steps[1] - steps[0] == pytest.approx(THERMAL_LAG_S, abs=2 * TICK)


def test_held_down_clocks_keep_it_from_going_up_and_send_it_down_sooner() -> None:
    made = machine(0.1, 0.3, at=0)
    made.run(60, throttled=True)
    assert made.at == 0
    made.run(60)
    assert made.at == 1
    made.run(60, busy=3, throttled=True)
    assert made.at == 0, "at 0.9 of the time"


def test_bicubic_is_left_as_soon_as_a_trial_fits() -> None:
    made = machine(0.1, 0.5, at=1)
    made.governor = Governor([0, 10], 1)
    made.run(30, busy=3)
    assert made.at == 0
    made.run(3 * MAX_PAUSE_S, busy=3)
    assert made.at == 0
    made.run(MAX_PAUSE_S + 30)
    assert made.at == 1


def test_an_unknown_load_changes_nothing_and_a_model_that_has_failed_is_left() -> None:
    governor = Governor([1, 2], 1)
    for tick in range(300):
        assert governor.decide(Observation(tick * TICK, None)) == 0
    moves = [governor.decide(Observation(30 + tick * TICK, float("inf"))) for tick in range(10)]
    assert -1 in moves and governor.why == "it has failed"


def test_heat_counts_where_no_rate_is_known() -> None:
    governor, gears = Governor([1, 2, 4], 1, hot=90), list[int]()
    for tick in range(round(60 / TICK)):
        if step := governor.decide(Observation(tick * TICK, None, 95 if tick * TICK < 20 else 60)):
            assert step < 0 or governor.accepts(tick * TICK, 0.0)
            governor.stepped(tick * TICK, governor.at + step)
            gears.append(governor.at)
    assert gears == [0, 1], "back to where it was, and no further"


def test_what_cannot_be_loaded_is_asked_for_again_later() -> None:
    governor, asked = Governor([1, 2], 0), []
    for tick in range(round(600 / TICK)):
        if governor.decide(Observation(tick * TICK, 0.1)) > 0:
            asked.append(tick * TICK)
            governor.refused(tick * TICK)
    assert asked[0] == pytest.approx(STEP_UP_AFTER_S) and 4 <= len(asked) <= 8
    assert all(b - a >= 2 * MIN_STEP_GAP_S for a, b in pairwise(asked))


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_steps_are_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    monkeypatch.setattr(driver, "time", clock)
    rate = [30.0]
    made = GovernorDriver(lambda: rate[0], Reading, hot=90)
    assert made.decide(1, 1.0) == 0 and not made.lines(), "no engine yet"
    made.begin([Rung("fast-x2", 13000), Rung("/a/b/wide-x2.onnx", 100000)], 1)
    made.stepped(1)

    def until(step: int, busy: float) -> None:
        for _ in range(400):
            clock.now += TICK
            if made.decide(made_at[0], busy) == step:
                return
        raise AssertionError("no step")

    made_at = [1]
    with caplog.at_level("INFO"):
        until(-1, 0.05)
        made_at[0] = 0
        made.stepped(0)
        assert "wide-x2 -> fast-x2, to keep 30 fps: it needs 150% of the time" in caplog.text
        clock.now += 12
        assert made.lines() == ["governor: fast-x2 for 30 fps since 12 s, 2 steps: it needs 150% of the time"]
        for _ in range(100):
            clock.now += TICK
            made.decide(0, 0.04)
        assert made.problem == "fast-x2 is too slow for 30 fps"
        until(1, 0.01)
        assert not made.problem
        assert not made.accepts(1, 0.2)
        assert "200.0 ms a frame in a trial" in caplog.text
        made.failed(1, EngineError("out of memory"))
        assert "wide-x2 cannot be used: out of memory" in caplog.text
    facts = made.as_dict()
    assert facts["models"] == ["fast-x2", "wide-x2"] and facts["fps"] == 30 and facts["steps"] == 2
    assert facts["last_steps"][-1]["from"] == "wide-x2" and facts["last_steps"][-1]["to"] == "fast-x2"
    rate[0] = 0.0
    assert made.decide(0, 5.0) == 0, "nothing is asked for"


def test_without_a_rate_it_says_so_once_and_heeds_the_heat(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock, rate, reading = Clock(), [0.0], [Reading(temperature=60)]
    monkeypatch.setattr(driver, "time", clock)
    made = GovernorDriver(lambda: rate[0], lambda: reading[0], hot=90)
    made.begin([Rung("fast-x2", 13000), Rung("wide-x2", 100000)], 1)

    def steps(seconds: float) -> set[int]:
        answers = set()
        for _ in range(round(seconds / TICK)):
            clock.now += TICK
            answers.add(made.decide(1, 5.0))
        return answers

    assert steps(driver.RATE_UNKNOWN_AFTER_S - 1) == {0} and not caplog.text
    assert steps(2 * driver.RATE_UNKNOWN_AFTER_S) == {0} and caplog.text.count("no rate to keep is known") == 1
    reading[0] = Reading(temperature=95)
    assert -1 in steps(2)
    made.stepped(0)
    clock.now += 5
    assert made.lines() == ["governor: fast-x2 since 5 s, 1 steps: 95 C"]
