"""The rates that are told, against clocks of our own: exact where there is one answer, and never more than was seen."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import app.pipeline.rate_meter
from app.pipeline.rate_meter import RateMeter

WINDOW = 2.0


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


clock = Clock()


@pytest.fixture(autouse=True, scope="module")
def stopped() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app.pipeline.rate_meter, "time", clock)
        yield


def steps(rate: RateMeter, *seconds: float) -> None:
    for one in seconds:
        clock.now += one
        rate.add(clock.now)


fps = st.floats(0.02, 110)


@given(fps=fps, count=st.integers(2, 300), phase=st.floats(0, 1))
def test_a_steady_rate_is_told_exactly_from_the_second_picture_on_at_every_moment(
    fps: float, count: int, phase: float
) -> None:
    rate = RateMeter(WINDOW)
    steps(rate, *[1 / fps] * count)
    clock.now += phase / fps
    assert rate.now() == pytest.approx(fps, rel=1e-6)


def test_one_picture_is_no_rate() -> None:
    rate = RateMeter(WINDOW)
    assert rate.now() == 0
    steps(rate, 1)
    assert rate.now() == rate.steady() == 0


@given(before=fps, stall=st.floats(0, 60), after=st.floats(1, 110))
def test_after_a_stall_it_is_right_again_within_the_window(before: float, stall: float, after: float) -> None:
    rate = RateMeter(WINDOW)
    steps(rate, *[1 / before] * 200, stall + 1 / after)
    told = list[float]()
    for _ in range(int(WINDOW * after) + 1):
        steps(rate, 1 / after)
        told.append(rate.now())
    assert told[-1] == pytest.approx(after, rel=1e-6)
    assert max(told) <= max(before, after) * (1 + 1e-6)


@given(seconds=st.lists(st.floats(0.001, 5), min_size=2, max_size=60))
def test_whatever_comes_it_lies_between_the_shortest_and_the_longest_interval(seconds: list[float]) -> None:
    rate = RateMeter(WINDOW)
    steps(rate, 0.0, *seconds)
    assert 1 / max(seconds) * (1 - 1e-6) <= rate.now() <= 1 / min(seconds) * (1 + 1e-6)


@given(
    seconds=st.lists(st.floats(0.001, 5), min_size=2, max_size=60),
    waits=st.lists(st.floats(0, 3), min_size=1, max_size=20),
)
def test_while_nothing_comes_it_only_falls_and_soon_tells_no_more_than_the_wait(
    seconds: list[float], waits: list[float]
) -> None:
    rate = RateMeter(WINDOW)
    steps(rate, *seconds)
    last, told = clock.now, [rate.now()]
    for wait in waits:
        clock.now += wait
        told.append(rate.now())
        if clock.now - last >= WINDOW:
            assert told[-1] <= 1 / (clock.now - last) * (1 + 1e-6)
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in itertools.pairwise(told))


@settings(max_examples=30)
@given(fps=st.floats(1, 110), burst=st.integers(2, 50))
def test_a_burst_at_the_start_is_not_taken_for_a_rate(fps: float, burst: int) -> None:
    rate = RateMeter(WINDOW)
    steps(rate, *[0.001] * burst)
    assert rate.steady() == 0
    for _ in range(int(2 * WINDOW * fps) + 2):
        steps(rate, 1 / fps)
    assert rate.steady() == pytest.approx(fps, rel=1e-6)
    clock.now += 60
    assert rate.steady() == pytest.approx(fps, rel=1e-6), "a source that is away has not become slower"
