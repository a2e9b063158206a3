"""What needs no server: addresses, what hosts are this one, engines that share the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import engines
from engines import bicubic
from engines.balance import balanced
from engines.base import EngineError, Image
from engines.connection import is_here, parse
from engines.slots import Slots

SIZE = (16, 16)


def test_addresses() -> None:
    one = parse("triton://host:8101/fast-x2")
    assert (one.servers, one.model, one.version, one.scale) == (("host:8101",), "fast-x2", "", 2)
    two = parse("triton://a,b:9000/quality-x4-int8/3")
    assert two.servers == ("a:8001", "b:9000") and (two.version, two.scale) == ("3", 4)
    assert str(two) == "triton://a:8001,b:9000/quality-x4-int8/3"
    assert parse("triton://[::1]:8001/m").servers == ("[::1]:8001",) and parse("triton://h/m").scale is None


@pytest.mark.parametrize(
    "text",
    ["triton", "triton://", "triton://host", "triton://host/", "triton:///m", "triton://h:x/m", "triton://a,,b/m"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(EngineError, match="no address of a Triton server") as told:
        engines.load(text, "fast", SIZE)
    assert "triton://127.0.0.1:8001/fast-x2" in told.value.fix


def test_which_hosts_are_this_one() -> None:
    assert is_here("127.0.0.1:8001") and is_here("localhost:8001") and is_here("[::1]:8001")
    assert not is_here("192.0.2.1:8001")  # RFC 5737: nobody's
    assert not is_here("no-such-host.invalid:8001")


def test_auto_is_never_a_server() -> None:
    assert engines.choose("auto") != "triton"


class Station:
    """A bicubic engine that can be made late or broken, and counts its frames."""

    def __init__(self) -> None:
        self.frames = self.loads = 0
        self.away = False
        self.late = 0.0

    def load(self) -> Slots[object]:
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

        return Slots(bicubic.load(SIZE, scale=2, depth=1).spec, [Slot(SIZE, 2) for _ in range(3)])


@contextmanager
def shared(*stations: Station) -> Iterator[Slots[int]]:
    members = {f"station {number}": station.load for number, station in enumerate(stations)}
    with balanced(members, 3, late=0.1) as engine:
        yield engine


def run(engine: Slots[int], count: int) -> None:
    """`count` frames, each of which has to come out as itself."""

    def submit() -> None:
        for number in range(count):
            engine.reserve()
            engine.submit(np.full((16, 16, 3), number % 250, np.uint8), number)

    submitter = threading.Thread(target=submit, daemon=True)
    submitter.start()
    for number in range(count):
        done = engine.collect(10)
        assert done is not None and done[1] == number and (done[0] == number % 250).all()
    submitter.join(10)


def test_the_load_is_shared_evenly() -> None:
    stations = [Station() for _ in range(3)]
    with shared(*stations) as engine:
        run(engine, 90)
    assert [station.frames for station in stations] == pytest.approx([30, 30, 30], abs=6)


def test_a_dead_one_is_left_out_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.balance.AGAIN", 0.05)
    good, bad = Station(), Station()
    with shared(good, bad) as engine:
        run(engine, 10)
        bad.away = True
        run(engine, 30)
        count = bad.frames
        run(engine, 30)
        assert bad.frames == count
        bad.away = False
        until = time.monotonic() + 10
        while bad.frames == count and time.monotonic() < until:
            run(engine, 6)
        assert bad.frames > count


def test_a_late_one_passes_its_frame_on() -> None:
    good, slow = Station(), Station()
    with shared(good, slow) as engine:
        slow.late = 3.0
        begun = time.monotonic()
        run(engine, 30)
        assert time.monotonic() - begun < 2.5
        assert slow.frames <= 3


def test_nobody_is_there() -> None:
    gone = Station()
    gone.away = True
    with pytest.raises(EngineError, match="The server is away"), shared(gone, gone):
        pass
    one, two = Station(), Station()
    with shared(one, two) as engine:
        run(engine, 4)
        one.away = two.away = True
        engine.reserve()
        with pytest.raises(EngineError, match="The server is away"):
            engine.submit(np.zeros((16, 16, 3), np.uint8), 0)
