"""Positions that only ever grow."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.sources.timestamps import MAX_FRAME_DURATION_S, MAX_LIVE_STEP_AHEAD_S, MAX_STEP_BACK_S, Timeline

stamps = st.lists(
    st.none() | st.sampled_from([math.nan, math.inf, -math.inf]) | st.floats(-1e19, 1e19) | st.floats(-9, 9),
    max_size=50,
)


@given(stamps=stamps, step=st.floats(0.001, 2))
def test_positions_grow_whatever_the_stamps(stamps: list[float | None], step: float) -> None:
    timeline = Timeline(step)
    positions = [timeline.at(stamp) for stamp in stamps]
    assert positions == sorted(set(positions))
    assert positions[:1] == [0.0][: len(positions)]


@given(gaps=st.lists(st.floats(0.001, 10), max_size=30), start=st.floats(-1e4, 1e4))
def test_good_stamps_are_kept(gaps: list[float], start: float) -> None:
    good = np.cumsum([start, *gaps])
    timeline = Timeline(0.04)
    assert np.allclose([timeline.at(float(stamp)) for stamp in good], good - start, atol=1e-6)


def test_a_clock_that_begins_anew_goes_on() -> None:
    timeline = Timeline(0.5)
    seen = [timeline.at(stamp) for stamp in (10.0, 10.5, None, 11.5, 0.0, 0.25, 0.25 - MAX_STEP_BACK_S / 2, 2.0)]
    assert seen == [0.0, 0.5, 1.0, 1.5, 2.0, 2.25, 2.75, 4.0]
    timeline.restart()
    assert timeline.at(10.0) == 4.5


def test_a_live_clock_runs_no_faster_than_ours() -> None:
    timeline = Timeline(0.5, MAX_LIVE_STEP_AHEAD_S)
    came = (0.0, 0.5, 0.5, 30.0, 30.5, 31.0, 31.5)
    # In between: a burst, a pause of the network's, a sender that was started anew, as FFmpeg tells of it.
    stamps = (7.0, 7.5, 8.0, 37.0, 91882.0, 91882.5, 91883.0)
    seen = [timeline.at(stamp, now) for stamp, now in zip(stamps, came, strict=True)]
    assert seen == [0.0, 0.5, 1.0, 30.0, 30.5, 31.0, 31.5]


def test_a_film_may_stand_still_and_does_not_freeze() -> None:
    timeline = Timeline(0.5)
    stamps = (
        0.0,
        0.5,
        0.5 + MAX_FRAME_DURATION_S,
        MAX_FRAME_DURATION_S + 1,
        3 * MAX_FRAME_DURATION_S,
        3 * MAX_FRAME_DURATION_S + 0.5,
    )
    after = [MAX_FRAME_DURATION_S + late for late in (0.5, 1, 1.5, 2)]
    assert [timeline.at(stamp) for stamp in stamps] == [0.0, 0.5, *after]
