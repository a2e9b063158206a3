"""What needs no server: addresses, what hosts are this one, engines that share the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

import engines
from engines import bicubic
from engines.balance import balanced
from engines.base import EngineError, Image
from engines.connection import Connection, Options, is_here, parse
from engines.slots import Slots
from engines.triton import make_slots

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
    assert "triton" not in engines.candidates("auto")


def test_the_next_engine_stands_in_for_a_server_that_is_away() -> None:
    with engines.load("triton://127.0.0.1:1/fast-x2", "fast", SIZE, fallback=["openvino"], strict=False) as engine:
        until = time.monotonic() + 20
        while engine.spec.name != "openvino":
            assert time.monotonic() < until
            run(engine, 1, checked=False)
        assert engine.spec.state == "triton://127.0.0.1:1/fast-x2 is away: connection refused; trying again"


class Other(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """What may answer at that port, in Triton's own protocol, and is not what it should be."""

    def __init__(self, version: str = "2.51.0", kind: str = "UINT8", answer: tuple[int, ...] = (1, 32, 32, 3)) -> None:
        self._version, self._kind, self._answer = version, kind, answer

    def ServerMetadata(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerMetadataResponse(name="other", version=self._version)

    def ModelReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelReadyResponse(ready=True)

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        told = service_pb2.ModelMetadataResponse(name=request.name)
        told.inputs.add(name="frame", datatype=self._kind, shape=[-1, -1, -1, 3])
        told.outputs.add(name="sr", datatype="UINT8", shape=[-1, -1, -1, 3])
        return told

    def ModelInfer(self, request: Any, context: Any) -> Any:
        told = service_pb2.ModelInferResponse(raw_output_contents=[bytes(int(np.prod(self._answer)))])
        told.outputs.add(name="sr", datatype="UINT8", shape=self._answer)
        return told


@contextmanager
def serving(other: Other) -> Iterator[str]:
    """Its address."""
    server = grpc.server(ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(other, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"triton://127.0.0.1:{port}/fast-x2"
    finally:
        server.stop(0).wait(5)


@pytest.mark.parametrize(
    ("other", "problem", "facts"),
    [
        (Other(version="3.0.0"), "is of another version", "it is other 3.0.0"),
        (Other(kind="FP32"), "is not an upscaling model", "its input is FP32"),
        (Other(answer=(1, 24, 24, 3)), "is not an upscaling model", "of 16x16 it makes [1, 24, 24, 3]"),
        (Other(answer=(1, 32, 32, 1)), "is not an upscaling model", "[1, 32, 32, 1]"),
    ],
)
def test_servers_that_are_not_what_they_should_be(other: Other, problem: str, facts: str) -> None:
    with serving(other) as address, pytest.raises(EngineError) as told:
        engines.load(address, "fast", SIZE)
    assert problem in told.value.problem and facts in told.value.facts and told.value.fix


@pytest.mark.parametrize(
    ("header", "sent"), [("authorization", "Bearer s3cret"), ("triton-grpc-protocol-key", "s3cret")]
)
def test_a_token_is_sent_as_its_header_wants_it(header: str, sent: str, tmp_path: Path) -> None:
    told = []

    class Guarded(Other):
        def ServerMetadata(self, request: Any, context: Any) -> Any:
            told.append(dict(context.invocation_metadata()))
            return super().ServerMetadata(request, context)

    file = tmp_path / "token"
    file.write_text("s3cret\n")
    with serving(Guarded()) as address:
        options = Options(token_file=file, token_header=header)
        Connection(parse(address).servers[0], parse(address), SIZE, options).close()
    assert told[0][header] == sent


def test_a_server_that_crashes_with_shared_memory_gets_none() -> None:
    with serving(Other(version="2.49.0")) as address:
        with pytest.raises(EngineError, match="no shared memory") as told:
            engines.load(address, "fast", SIZE, options=Options(transport="shm"))
        assert "it is 2.49.0" in told.value.facts
        with closing(Connection(parse(address).servers[0], parse(address), SIZE, Options())) as connection:
            assert make_slots(connection, 1, 1.0)[1] == "raw"


def test_of_two_servers_one_that_hangs_costs_no_picture() -> None:
    hang, go = threading.Event(), threading.Event()

    class Hanging(Other):
        def ModelInfer(self, request: Any, context: Any) -> Any:
            if hang.is_set():
                go.wait(20)
            return super().ModelInfer(request, context)

    with serving(Other()) as one, serving(Hanging()) as two:
        address = f"{one.rpartition('/')[0]},{two.removeprefix('triton://')}"
        raw = Options(transport="raw")
        with engines.load(address, "fast", SIZE, options=raw, fallback=["bicubic"], patience=0.6) as engine:
            hang.set()
            for _ in range(4):
                run(engine, 1, checked=False)
                assert (engine.spec.name, engine.spec.state) == ("triton", "")
            go.set()


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


def run(engine: Slots[int], count: int, *, checked: bool = True) -> None:
    """`count` frames, each of which has to come out as itself."""

    def submit() -> None:
        for number in range(count):
            engine.reserve()
            engine.submit(np.full((16, 16, 3), number % 250, np.uint8), number)

    submitter = threading.Thread(target=submit, daemon=True)
    submitter.start()
    for number in range(count):
        done = engine.collect(10)
        assert done is not None and done[1] == number
        assert not checked or (done[0] == number % 250).all()
    submitter.join(10)


def until_asked(engine: Slots[int], station: Station, *, each: int) -> None:
    """`each` frames and again, until one of them goes to `station`; 10 s at most."""
    count, until = station.frames, time.monotonic() + 10
    while station.frames == count and time.monotonic() < until:
        run(engine, each)


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
        until_asked(engine, bad, each=6)
        assert bad.frames > count


def test_one_that_is_found_again_does_not_get_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.balance.AGAIN", 0.02)
    good, bad = Station(), Station()
    with shared(good, bad) as engine:
        run(engine, 90)
        bad.away = True
        run(engine, 6)
        bad.away = False
        until_asked(engine, bad, each=1)
        count = good.frames
        run(engine, 30)
        assert good.frames - count >= 8


def test_a_late_one_passes_its_frame_on() -> None:
    good, slow = Station(), Station()
    with shared(good, slow) as engine:
        slow.late = 3.0
        begun = time.monotonic()
        run(engine, 30)
        assert time.monotonic() - begun < 2.5
        assert slow.frames <= 3


def test_one_that_is_left_out_is_freed() -> None:
    good, bad, freed = Station(), Station(), threading.Event()

    def load() -> Slots[object]:
        made = bad.load()
        return Slots(made.spec, made.slots, close=freed.set)

    with balanced({"good": good.load, "bad": load}, 3, late=0.1) as engine:
        run(engine, 10)
        bad.away = True
        run(engine, 10)
        assert freed.wait(10), "what it holds of a server's memory would be kept until the end"


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
