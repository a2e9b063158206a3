"""Whatever its engines do, each frame comes out once, in order, as itself, and soon."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.errors import EngineError
from engines.failover.candidates import Candidate, Retry
from engines.failover.engine import FailoverEngine
from tests.support.failing_engines import GONE, QUICK, SIZE, Device, Run, raising


@contextmanager
def standby(
    *devices: Device, frame_timeout: float = 5.0, scale: int | None = None, depth: int = 2, retry: Retry = QUICK
) -> Iterator[tuple[FailoverEngine[int], Run]]:
    candidates = [Candidate(device.name, device.load, frame_timeout) for device in devices]
    with FailoverEngine[int](candidates, SIZE, scale=scale, depth=depth, retry=retry) as engine:
        yield engine, Run(engine)
    assert all(slot.closed for device in devices for slot in device.slots), "an engine was not freed"


def test_a_healthy_engine_makes_every_picture() -> None:
    device = Device()
    with standby(device) as (engine, run):
        run.frames(20)
        assert run.made == ["remote"] * 20 and set(run.states) == {""}
        assert engine.spec.input == SIZE and device.loads == 1


trouble = st.lists(st.sampled_from(["fine", "slow", "never", "error", "launch"]), max_size=40)


@pytest.mark.integration
@settings(max_examples=60)
@given(
    depth=st.integers(1, 3),
    frames=trouble,
    loads=st.lists(st.booleans(), max_size=6),
    period=st.sampled_from([0, 0.001, 0.003]),
)
def test_each_frame_comes_out_once_in_order_as_itself(
    depth: int, frames: list[str], loads: list[bool], period: float
) -> None:
    def on_frame(number: int) -> None:
        match frames[number] if number < len(frames) else "fine":
            case "slow":
                time.sleep(0.004)
            case "never":
                time.sleep(0.05)
            case "error":
                raise GONE

    def on_launch(number: int) -> None:
        if number < len(frames) and frames[number] == "launch":
            raise GONE

    def on_load(number: int) -> None:
        if 0 < number <= len(loads) and not loads[number - 1]:
            raise GONE

    with standby(Device(on_frame, on_launch, on_load), frame_timeout=0.02, depth=depth) as (_, run):
        run.frames(len(frames) + 10, period)
        run.until("remote")
    # A picture is marked exactly when another engine than the wanted one made it.
    for made, state in zip(run.made, run.states, strict=True):
        assert made == "remote" or "remote is away" in state


def test_a_late_answer_is_not_waited_for_nor_shown_later() -> None:
    gate = threading.Event()
    try:
        with standby(Device(lambda n: gate.wait(40) and None if n == 3 else None), frame_timeout=1.0) as (_, run):
            run.frames(30, period=0.005)
            assert run.made[:3] == ["remote"] * 3 and run.made[3] == "bicubic"
            assert "no answer within 1000 ms; trying again" in run.states[3]
            assert max(run.ages) < 20
            gate.set()
            run.until("remote")
            run.frames(30, period=0.005)
    finally:
        gate.set()


@pytest.mark.integration
def test_a_frame_is_not_late_for_waiting_behind_another() -> None:
    done = [threading.Event() for _ in range(5)]
    done[0].set()

    def one_after_another(number: int) -> None:
        done[number].wait(10)
        time.sleep(1.5)
        done[number + 1].set()

    with standby(Device(one_after_another), frame_timeout=2.8) as (_, run):
        run.frames(4)
    assert run.made == ["remote"] * 4


def test_two_frames_in_a_hung_engine_cost_one_wait() -> None:
    gate = threading.Event()
    try:
        with standby(Device(lambda n: gate.wait(30)), frame_timeout=3.0, retry=Retry(first=60, longest=60)) as (_, run):
            begun = time.monotonic()
            run.frames(10)
            assert set(run.made[:2]) == {"bicubic"}
            assert time.monotonic() - begun < 6
            gate.set()
    finally:
        gate.set()


@pytest.mark.integration
def test_the_end_does_not_wait_for_a_hung_engine() -> None:
    gate = threading.Event()
    device = Device(lambda n: gate.wait(60))
    candidates = [Candidate("remote", device.load, 0.05)]
    try:
        begun = time.monotonic()
        with FailoverEngine[int](candidates, SIZE, scale=None, depth=2, retry=QUICK) as engine:
            Run(engine).frames(3)
        assert time.monotonic() - begun < 15
    finally:
        gate.set()


def test_it_returns_when_the_engine_does() -> None:
    away = threading.Event()

    def refuse(_number: int) -> None:
        if away.is_set():
            raise GONE

    with standby(Device(refuse, refuse, refuse)) as (_, run):
        for _ in range(3):
            run.frames(3)
            away.set()
            run.until("bicubic")
            run.frames(20, period=0.002)
            assert set(run.made[-20:]) == {"bicubic"}
            assert run.states[-1] == "remote is away: connection refused; trying again"
            away.clear()
            run.until("remote")
            assert run.states[-1] == ""


def test_the_next_engine_takes_over_and_gives_back() -> None:
    away = threading.Event()

    def refuse(_number: int) -> None:
        if away.is_set():
            raise GONE

    first, second = Device(refuse, refuse, refuse), Device(name="second")
    with standby(first, second) as (_, run):
        run.frames(3)
        assert second.loads == 0
        away.set()
        run.until("second")
        assert "bicubic" in run.made and "remote is away" in run.states[-1]
        away.clear()
        run.until("remote")
        assert run.states[-1] == ""
        run.frames(5)
        assert first.loads > QUICK.failures


def test_the_next_engine_may_be_broken_too() -> None:
    first, second = Device(on_load=raising(GONE, *range(1, 1000)), on_frame=raising(GONE, 2)), Device(name="second")
    second.on_frame = raising(EngineError("out of memory"), 5, 6)
    with standby(first, second) as (_, run):
        run.until("second")
        run.until("bicubic")
        run.until("second")
        run.frames(20)


@pytest.mark.integration
def test_loads_that_hang_count_as_failures_in_a_row() -> None:
    def hang(_number: int) -> None:
        time.sleep(QUICK.within)
        raise EngineError("The engine does not load")

    tried: list[int] = []  # loads of the first when the second is loaded: the first is tried again after that
    first = Device(on_load=hang)
    second = Device(name="second", on_load=lambda _number: tried.append(first.loads))
    with standby(first, second, scale=2) as (_, run):
        run.until("second")
    assert tried[0] == QUICK.failures


def test_without_an_engine_at_the_start() -> None:
    away = Device(on_load=raising(GONE))
    with pytest.raises(EngineError, match="The server is away"), standby(away):
        pass
    late = Device(on_load=raising(GONE, *range(5)))
    with standby(late, scale=2) as (engine, run):
        assert engine.spec.name == "bicubic" and "remote" in engine.spec.state.reason
        run.frames(1)
        run.until("remote")


def test_an_engine_that_is_there_from_the_start_is_not_told_of_twice(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), standby(Device()) as (engine, _):
        assert engine.spec.name == "remote" and engine.state.ok
    assert not caplog.messages, "the pipeline tells what it begins with"


def test_an_engine_of_another_scale_is_not_taken() -> None:
    with standby(Device(), scale=3) as (_, run):
        run.frames(10, period=0.002)
        assert set(run.made) == {"bicubic"}
        assert "another picture" in run.states[-1] or "wanted is (48, 48)" in run.states[-1]


def test_pauses_grow_while_an_engine_stays_away() -> None:
    device = Device(on_load=raising(GONE))
    begun = time.monotonic()
    with standby(device, scale=2, retry=Retry(first=0.02, longest=0.1, within=60)):
        while device.loads < 12:
            assert time.monotonic() < begun + 60
            time.sleep(0.01)
        assert device.loads <= 5 + (time.monotonic() - begun) / 0.1  # 20, 40, 80, 100, 100 ... ms
