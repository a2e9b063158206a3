"""Order, lending, back-pressure and the end of SlotEngine, over a device that takes its own time."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.base import Image, Spec
from engines.errors import EngineError
from engines.slot_engine import SlotEngine

SIZE = (4, 3)
Work = Callable[[int], object]


class PoolSlot:
    """A slot whose device is a thread pool: it hands back what it was given, when `work` of its grey level is done."""

    def __init__(self, pool: concurrent.futures.Executor, work: Work) -> None:
        self._pool, self._work = pool, work
        self.input: Image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        self._output: Image = np.zeros_like(self.input)
        self._job: concurrent.futures.Future[None] | None = None
        self.finished = 0.0
        self.closed = 0

    def launch(self, image: Image) -> None:
        np.copyto(self.input, image)
        self._job = self._pool.submit(self._run)

    def _run(self) -> None:
        self._work(int(self.input[0, 0, 0]))
        np.copyto(self._output, self.input)
        self.finished = time.monotonic()

    def wait(self, timeout: float) -> Image:
        assert self._job is not None
        try:
            self._job.result(timeout)
        except concurrent.futures.TimeoutError:  # the builtin one only since Python 3.11
            raise TimeoutError from None
        return self._output

    def close(self) -> None:
        assert self._job is None or self._job.done(), "freed under a running job"
        self.closed += 1


def nothing(_level: int) -> None:
    pass


@contextmanager
def engine(depth: int, work: Work = nothing, hang_timeout: float = 30.0) -> Iterator[SlotEngine[int]]:
    spec = Spec("pool", "threads", "none", "u8", 1, SIZE, SIZE)
    with (
        concurrent.futures.ThreadPoolExecutor(depth) as pool,
        SlotEngine[int](spec, [PoolSlot(pool, work) for _ in range(depth)], hang_timeout=hang_timeout) as slots,
    ):
        yield slots


def grey(level: int) -> Image:
    return np.full((SIZE[1], SIZE[0], 3), level, np.uint8)


def feed(slots: SlotEngine[int], count: int) -> None:
    """Submit grey levels 0, 1 ... until told to stop, then finish."""
    image = grey(0)
    for level in range(count):
        if not slots.reserve():
            break
        image.fill(level)
        slots.submit(image, level)
        image.fill(255)  # the caller's own again as soon as submit() has returned
    slots.finish()


def started(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


milliseconds = st.floats(0, 0.003)


@settings(max_examples=40)
@given(
    depth=st.integers(1, 4),
    delays=st.lists(milliseconds, max_size=12),
    pauses=st.lists(milliseconds, min_size=1, max_size=5),
)
def test_order_is_kept_and_no_view_changes_while_it_is_lent(
    depth: int, delays: list[float], pauses: list[float]
) -> None:
    seen = []
    begun = time.monotonic()
    with engine(depth, lambda level: time.sleep(delays[level])) as slots:
        submitter = started(lambda: feed(slots, len(delays)))
        total = 0.0
        while (done := slots.collect(10)) is not None:
            image, tag, busy = done
            first = image.copy()
            time.sleep(pauses[tag % len(pauses)])
            assert (image == first).all()
            image.fill(200)  # a sink may draw into what it borrows
            seen.append((int(first[0, 0, 0]), tag))
            total += busy
        submitter.join(10)
        assert slots.collect(0) is None  # the end stays the end
    assert seen == [(level, level) for level in range(len(delays))]
    assert total <= time.monotonic() - begun + 1e-6


@settings(max_examples=30)
@given(depth=st.integers(1, 4), taken=st.integers(0, 8), fault=st.one_of(st.none(), st.integers(0, 8)))
def test_leaving_at_any_moment_ends_both_sides(depth: int, taken: int, fault: int | None) -> None:
    def work(level: int) -> None:
        time.sleep(0.001)
        if level == fault:
            raise EngineError("the device is gone")

    with engine(depth, work) as slots:
        submitter = started(lambda: feed(slots, 1000))
        try:
            for level in range(taken):
                done = slots.collect(10)
                assert done is not None and done[1] == level
            assert fault is None or fault >= taken
        except EngineError:
            assert fault is not None and fault < taken
    submitter.join(10)
    assert not submitter.is_alive()
    assert [slots.slot(index).closed for index in range(depth)] == [1] * depth  # type: ignore[attr-defined]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_reserve_blocks_at_depth_until_a_view_is_given_back(depth: int) -> None:
    with engine(depth) as slots:
        for level in range(depth):
            assert slots.reserve()
            slots.submit(grey(level), level)
        waiting = started(slots.reserve)
        waiting.join(0.05)
        assert waiting.is_alive(), "more frames in flight than slots"
        assert slots.collect(10) is not None
        waiting.join(0.05)
        assert waiting.is_alive(), "a slot was handed out while its view is borrowed"
        if depth > 1:
            slots.collect(10)
        else:
            with pytest.raises(TimeoutError):
                slots.collect(0)
        waiting.join(10)
        assert not waiting.is_alive()


def test_cancel_unblocks_both_sides() -> None:
    answers: list[object] = []
    with engine(1) as empty, engine(1) as full:
        full.reserve()
        full.submit(grey(0), 0)
        collector = started(lambda: answers.append(empty.collect(60)))
        submitter = started(lambda: answers.append(full.reserve()))
        empty.cancel()
        full.cancel()
        collector.join(10)
        submitter.join(10)
        assert sorted(answers, key=str) == [False, None]
        full.submit(grey(1), 1)  # too late, and harmless
        assert full.collect(60) is None


def test_finish_hands_out_what_is_in_flight_and_then_ends() -> None:
    with engine(3) as slots:
        for level in range(3):
            slots.reserve()
            slots.submit(grey(level), level)
        slots.finish()
        assert [done[1] for _ in range(3) if (done := slots.collect(10))] == [0, 1, 2]
        assert slots.collect(10) is None


def test_a_failure_of_the_device_comes_out_of_collect() -> None:
    def work(level: int) -> None:
        if level == 1:
            raise EngineError("the device is gone")

    with engine(2, work) as slots:
        submitter = started(lambda: feed(slots, 5))
        assert slots.collect(10) is not None
        with pytest.raises(EngineError, match="the device is gone"):
            slots.collect(10)
    submitter.join(10)
    assert not submitter.is_alive()


def test_a_hung_device_is_told_after_the_deadline() -> None:
    gate = threading.Event()
    try:
        with engine(2, lambda _level: gate.wait(60), hang_timeout=0.2) as slots:
            slots.reserve()
            slots.submit(grey(0), 0)
            with pytest.raises(TimeoutError):
                slots.collect(0.01)
            with pytest.raises(EngineError, match="stopped answering") as told:
                while True:
                    try:
                        slots.collect(0.05)
                    except TimeoutError:
                        continue
            assert "0.2 s (threads)" in told.value.facts and "--engine bicubic" in told.value.fix
            gate.set()
    finally:
        gate.set()


def test_a_frame_behind_another_has_the_deadline_to_itself() -> None:
    first_done = threading.Event()

    def work(level: int) -> None:
        if level == 1:
            first_done.wait(10)
        time.sleep(2)
        first_done.set()

    with engine(2, work, hang_timeout=3.8) as slots:
        for level in (0, 1):
            slots.reserve()
            slots.submit(grey(level), level)
        done: list[int] = []
        while len(done) < 2:
            with contextlib.suppress(TimeoutError):
                collected = slots.collect(0.02)
                assert collected is not None
                done.append(collected[1])
    assert done == [0, 1]


def test_leaving_waits_for_a_launch_that_is_going_on() -> None:
    inside, go, order = threading.Event(), threading.Event(), list[str]()

    class Slow(PoolSlot):
        def launch(self, image: Image) -> None:
            inside.set()
            go.wait(10)
            super().launch(image)
            order.append("launched")

        def close(self) -> None:
            super().close()
            order.append("closed")

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with SlotEngine[int](Spec("pool", "threads", "none", "u8", 1, SIZE, SIZE), [Slow(pool, nothing)]) as slots:
            slots.reserve()
            submitter = started(lambda: slots.submit(grey(1), 1))
            assert inside.wait(10)
            threading.Timer(0.1, go.set).start()
        submitter.join(10)
    assert order == ["launched", "closed"]


def test_leaving_waits_for_a_device_that_stands_still_no_longer_than_it_is_told_to() -> None:
    gate = threading.Event()

    class Cancelled(PoolSlot):
        def close(self) -> None:
            self.closed += 1  # what it computes with is there until the job is done

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        try:
            slots = [Cancelled(pool, lambda _level: gate.wait(60)) for _ in range(2)]
            begun = time.monotonic()
            spec = Spec("pool", "threads", "none", "u8", 1, SIZE, SIZE)
            with SlotEngine[int](spec, slots, hang_timeout=60.0, drain_timeout=0.2) as both:
                for level in (0, 1):
                    both.reserve()
                    both.submit(grey(level), level)
            assert time.monotonic() - begun < 20 and [slot.closed for slot in slots] == [1, 1]
        finally:
            gate.set()


def test_nothing_to_collect_is_a_timeout() -> None:
    with engine(2) as slots, pytest.raises(TimeoutError):
        slots.collect(0.01)


def test_an_image_of_another_size_is_refused_and_costs_no_slot() -> None:
    with engine(1) as slots:
        slots.reserve()
        with pytest.raises(ValueError, match=r"\(3, 4, 3\)"):
            slots.submit(np.zeros((5, 5, 3), np.uint8), 0)
        slots.submit(grey(7), 7)
        done = slots.collect(10)
        assert done is not None and done[1] == 7


def test_a_launch_that_fails_costs_no_slot() -> None:
    with engine(1) as slots:
        slots.reserve()
        with pytest.raises(TypeError):
            slots.submit(np.zeros((3, 4, 3), dtype="U1"), 0)
        assert slots.reserve()


def test_a_frame_that_was_ready_before_the_one_ahead_of_it_cost_nothing_more() -> None:
    ready = threading.Event()

    def work(level: int) -> None:
        if level == 1:
            assert ready.wait(60)

    with engine(2, work) as slots:
        for level in (1, 2):
            assert slots.reserve()
            slots.submit(grey(level), level)
        second = slots.slot(1)
        while not second.finished:
            time.sleep(0.001)
        ready.set()
        ahead, behind = slots.collect(60), slots.collect(60)
    assert ahead is not None and behind is not None
    assert (ahead[1], behind[1]) == (1, 2) and ahead[2] > 0 and behind[2] == 0
