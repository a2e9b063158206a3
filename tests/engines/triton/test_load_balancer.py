"""Engines that share the work: evenly, without those that are away, and with those that come back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from engines import bicubic
from engines.base import Engine, Image, Slot
from engines.errors import EngineError, FrameRefusedError
from engines.failover.candidates import Candidate
from engines.failover.engine import FailoverEngine
from engines.slot_engine import SlotEngine
from engines.triton.load_balancer import BACKEND_RETRY_S, BackendPool, balanced
from tests.support.rising_frames import SIZE, run_frames


class Station:
    """A bicubic engine that can be made late or broken, and counts its frames."""

    def __init__(self) -> None:
        self.frames = self.loads = 0
        self.away = False
        self.late = 0.0

    def load(self) -> Engine[object]:
        self.loads += 1
        if self.away:
            raise EngineError("The server is away", "connection refused")
        station = self

        class Slot(bicubic.BicubicSlot):
            def launch(self, image: Image) -> None:
                super().launch(image)
                station.frames += 1
                if station.away:
                    raise EngineError("The server is away", "connection refused")
                self._due = time.monotonic() + station.late

            def wait(self, timeout: float) -> Image:
                if station.away:
                    raise EngineError("The server is away", "connection reset")
                if time.monotonic() + timeout < self._due:
                    time.sleep(timeout)
                    raise TimeoutError
                time.sleep(max(0.0, self._due - time.monotonic()))
                return super().wait(timeout)

        return SlotEngine(bicubic.load(SIZE, scale=2, depth=1).spec, [Slot(SIZE, 2) for _ in range(3)])


def slots_of(engine: Engine[object]) -> list[Slot]:
    return [engine.slot(index) for index in range(engine.depth)]


@contextmanager
def shared(*stations: Station, retry_after: float = BACKEND_RETRY_S) -> Iterator[Engine[int]]:
    members = {f"station {number}": station.load for number, station in enumerate(stations)}
    with balanced(members, 3, frame_timeout=1.0, retry_after=retry_after) as engine:
        yield engine


def until_asked(engine: Engine[int], station: Station, *, each: int) -> None:
    """`each` frames and again, until one of them goes to `station`; 60 s at most."""
    count, until = station.frames, time.monotonic() + 60
    while station.frames == count and time.monotonic() < until:
        run_frames(engine, each)


def test_the_load_is_shared_evenly() -> None:
    stations = [Station() for _ in range(3)]
    with shared(*stations) as engine:
        run_frames(engine, 90)
    assert [station.frames for station in stations] == pytest.approx([30, 30, 30], abs=6)


def test_a_dead_one_is_left_out_and_found_again() -> None:
    good, bad = Station(), Station()
    with shared(good, bad, retry_after=0.05) as engine:
        run_frames(engine, 10)
        bad.away = True
        run_frames(engine, 30)
        count = bad.frames
        run_frames(engine, 30)
        assert bad.frames == count
        bad.away = False
        until_asked(engine, bad, each=6)
        assert bad.frames > count


def test_one_that_is_found_again_does_not_get_everything() -> None:
    good, bad = Station(), Station()
    with shared(good, bad, retry_after=0.02) as engine:
        run_frames(engine, 90)
        bad.away = True
        run_frames(engine, 6)
        bad.away = False
        until_asked(engine, bad, each=1)
        count = good.frames
        run_frames(engine, 30)
        assert good.frames - count >= 8


def test_one_that_is_found_again_makes_up_for_nothing() -> None:
    good, bad = Station(), Station()
    with shared(good, bad, retry_after=0.02) as engine:
        bad.away = True
        for _ in range(200):  # a camera's frames come one by one; after a night they would be a million
            run_frames(engine, 1)
        bad.away = False
        until_asked(engine, bad, each=1)
        before = good.frames
        for _ in range(40):
            run_frames(engine, 1)
        assert good.frames - before == pytest.approx(20, abs=2)


def test_a_late_one_passes_its_frame_on() -> None:
    good, slow = Station(), Station()
    with shared(good, slow) as engine:
        slow.late = 30.0
        begun = time.monotonic()
        run_frames(engine, 30)
        assert time.monotonic() - begun < 20
        assert slow.frames <= 3


def test_one_that_is_left_out_is_freed() -> None:
    good, bad, freed = Station(), Station(), threading.Event()

    def load() -> Engine[object]:
        made = bad.load()
        return SlotEngine(made.spec, slots_of(made), close=freed.set)

    with balanced({"good": good.load, "bad": load}, 3, frame_timeout=0.1) as engine:
        run_frames(engine, 10)
        bad.away = True
        run_frames(engine, 10)
        assert freed.wait(10), "what it holds of a server's memory would be kept until the end"


def test_at_the_end_one_that_is_left_out_is_freed_though_a_frame_never_came_back() -> None:
    bad, freed = Station(), threading.Event()

    def load() -> Engine[object]:
        made = bad.load()
        return SlotEngine(made.spec, slots_of(made), close=freed.set)

    team = BackendPool({"bad": load})
    team.mark_down(*team.pick(), EngineError("it is late"))
    assert not freed.is_set()
    team.end()
    assert freed.wait(20)


def test_one_is_not_freed_while_a_frame_is_given_to_it() -> None:
    good, slow, given, go, freed = Station(), Station(), threading.Event(), threading.Event(), threading.Event()

    def load() -> Engine[object]:
        made = slow.load()
        slot = made.slot(2)
        begin = slot.launch

        def launch(image: Image) -> None:
            given.set()
            go.wait(20)
            begin(image)

        slot.launch = launch  # type: ignore[method-assign] # its first frame is late meanwhile
        return SlotEngine(made.spec, slots_of(made), close=freed.set)

    with balanced({"slow": load, "good": good.load}, 3, frame_timeout=0.1) as engine:
        slow.late = 20.0
        camera = threading.Thread(target=run_frames, args=(engine, 3), daemon=True)
        camera.start()
        until = time.monotonic() + 60
        while not given.is_set() or good.frames < 2:  # its own, and the late one
            assert time.monotonic() < until
            time.sleep(0.01)
        assert not freed.wait(0.2)
        go.set()
        camera.join(10)
        assert not camera.is_alive() and freed.wait(10)


def test_a_frame_that_one_does_not_take_is_not_counted_as_in_flight() -> None:
    good, full, left = Station(), Station(), [None] * 4

    class Refusing:
        def __init__(self, slot: Any) -> None:
            self._slot = slot

        def __getattr__(self, name: str) -> Any:
            return getattr(self._slot, name)

        def wait(self, timeout: float) -> Image:
            if left:
                left.pop()
                raise FrameRefusedError("The server is overloaded", "Exceeds maximum queue size")
            image: Image = self._slot.wait(timeout)
            return image

    def load() -> Engine[object]:
        made = full.load()
        return SlotEngine(made.spec, [Refusing(slot) for slot in slots_of(made)])

    choice = Candidate("both", lambda: balanced({"good": good.load, "full": load}, 3, frame_timeout=1.0), 2.0)
    with FailoverEngine[int]([choice], SIZE, scale=None, depth=3) as engine:
        until = time.monotonic() + 60
        while left:
            assert time.monotonic() < until, f"it gets no frame any more; {len(left)} refusals are left"
            run_frames(engine, 2, checked=False)
        before = good.frames, full.frames
        run_frames(engine, 60, checked=False)
        assert (good.frames - before[0], full.frames - before[1]) == pytest.approx((30, 30), abs=6)


def test_one_that_hangs_keeps_no_other_away() -> None:
    first, second, third, asked, go = Station(), Station(), Station(), threading.Event(), threading.Event()

    def load() -> Engine[object]:
        if first.away:
            asked.set()
            go.wait(20)
        return first.load()

    with balanced(
        {"first": load, "second": second.load, "third": third.load}, 3, frame_timeout=0.1, retry_after=0.05
    ) as engine:
        run_frames(engine, 9)
        first.away = second.away = True
        run_frames(engine, 30)
        assert asked.wait(10)
        second.away = False
        count = second.frames
        until_asked(engine, second, each=3)
        go.set()
        assert second.frames > count


def test_one_that_fails_as_nobody_has_foreseen_is_found_again() -> None:
    good, bad, failures = Station(), Station(), [MemoryError(), OSError("Too many open files")]

    def load() -> Engine[object]:
        if failures:
            raise failures.pop()
        return bad.load()

    with balanced({"good": good.load, "bad": load}, 3, frame_timeout=0.1, retry_after=0.05) as engine:
        until_asked(engine, bad, each=6)
        assert bad.frames and not failures


def test_nobody_is_there() -> None:
    gone = Station()
    gone.away = True
    with pytest.raises(EngineError, match="The server is away"), shared(gone, gone):
        pass
    one, two = Station(), Station()
    with shared(one, two) as engine:
        run_frames(engine, 4)
        one.away = two.away = True
        engine.reserve()
        with pytest.raises(EngineError, match="The server is away"):
            engine.submit(np.zeros((16, 16, 3), np.uint8), 0)


def test_a_frame_in_flight_when_nobody_is_left_is_told_of_each_time() -> None:
    one, two = Station(), Station()
    with shared(one, two) as engine:
        run_frames(engine, 4)
        engine.reserve()
        engine.submit(np.zeros((16, 16, 3), np.uint8), 0)
        one.away = two.away = True
        for _ in range(2):
            with pytest.raises(EngineError, match="The server is away"):
                engine.collect(5)
