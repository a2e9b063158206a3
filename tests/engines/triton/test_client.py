"""What needs no server: addresses, what hosts are this one, engines that share the work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

import engines
from engines import bicubic
from engines.base import Engine, Image, Slot, Strength
from engines.catalog.resolved import resolve_served
from engines.errors import EngineError, FrameRefusedError
from engines.failover.candidates import Candidate
from engines.failover.engine import FailoverEngine
from engines.request import EngineRequest, Transport, TritonOptions
from engines.slot_engine import SlotEngine
from engines.triton.address import is_this_machine, parse
from engines.triton.client import TritonClient
from engines.triton.grpc_failure import NOT_GRPC, GrpcFailure
from engines.triton.load_balancer import BACKEND_RETRY_S, BackendPool, balanced
from engines.triton.slots import make_slots

SIZE = (16, 16)
NAME = "there is no host of this name"


def test_addresses() -> None:
    one = parse("triton://host:8101/fast-x2")
    assert (one.servers, one.model, one.version) == (("host:8101",), "fast-x2", "")
    assert resolve_served(one.model, None).scale == 2
    two = parse("triton://a,b:9000/quality-x4-int8/3")
    assert two.servers == ("a:8001", "b:9000") and two.version == "3"
    assert resolve_served(two.model, None).scale == 4
    assert str(two) == "triton://a:8001,b:9000/quality-x4-int8/3"
    assert (
        parse("triton://[::1]:8001/m").servers == ("[::1]:8001",)
        and resolve_served(parse("triton://h/m").model, None).scale is None
    )


@pytest.mark.parametrize(
    "text",
    ["triton", "triton://", "triton://host", "triton://host/", "triton:///m", "triton://h:x/m", "triton://a,,b/m"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(EngineError, match="no address of a Triton server") as told:
        engines.load(EngineRequest(text, "fast", SIZE))
    assert "triton://127.0.0.1:8001/fast-x2" in told.value.fix


def test_which_hosts_are_this_one() -> None:
    assert is_this_machine("127.0.0.1:8001") and is_this_machine("localhost:8001") and is_this_machine("[::1]:8001")
    assert not is_this_machine("192.0.2.1:8001")  # RFC 5737: nobody's
    assert not is_this_machine("no-such-host.invalid:8001")


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
def test_a_name_that_no_host_can_have_is_told_as_one_that_none_has(host: str) -> None:
    with pytest.raises(EngineError, match="There is no Triton server at") as told:
        engines.load(EngineRequest(f"triton://{host}:8001/m", "fast", SIZE, triton=TritonOptions(timeout=1.0)))
    assert host in told.value.problem and told.value.facts and told.value.fix


def test_auto_is_never_a_server() -> None:
    assert "triton" not in engines.candidates("auto")


def test_the_next_engine_stands_in_for_a_server_that_is_away() -> None:
    with engines.load(
        EngineRequest("triton://127.0.0.1:1/fast-x2", "fast", SIZE, fallback=("openvino",), start="standby")
    ) as engine:
        frames_until(engine, lambda: engine.spec.name == "openvino")
        assert engine.spec.state.reason == "triton://127.0.0.1:1/fast-x2 is away: connection refused; trying again"


class Other(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """What may answer at that port, in Triton's own protocol, and is not what it should be."""

    def __init__(
        self,
        version: str = "2.51.0",
        kind: str = "UINT8",
        answer: tuple[int, ...] = (1, 32, 32, 3),
        strength: tuple[int, ...] = (),
    ) -> None:
        self._version, self._kind, self._answer, self._strength = version, kind, answer, strength
        self.inputs: list[dict[str, bytes]] = []
        """Of each request."""

    def ServerMetadata(self, request: Any, context: Any) -> Any:
        return service_pb2.ServerMetadataResponse(name="other", version=self._version)

    def ModelReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelReadyResponse(ready=True)

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        told = service_pb2.ModelMetadataResponse(name=request.name)
        told.inputs.add(name="frame", datatype=self._kind, shape=[-1, -1, -1, 3])
        if self._strength:
            told.inputs.add(name="strength", datatype="FP32", shape=self._strength)
        told.outputs.add(name="sr", datatype="UINT8", shape=[-1, -1, -1, 3])
        return told

    def ModelInfer(self, request: Any, context: Any) -> Any:
        if request is not None:
            names = [f"{port.name} {list(port.shape)}" for port in request.inputs]
            self.inputs.append(dict(zip(names, request.raw_input_contents, strict=True)))
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
        engines.load(EngineRequest(address, "fast", SIZE))
    assert problem in told.value.problem and facts in told.value.facts and told.value.fix


@pytest.mark.parametrize(("shape", "name"), [((1,), "strength [1]"), ((-1, 1), "strength [1, 1]"), ((), "")])
def test_the_strength_is_sent_where_the_metadata_list_it(shape: tuple[int, ...], name: str) -> None:
    other, strength = Other(strength=shape), Strength(0.25)
    with (
        serving(other) as address,
        engines.load(
            EngineRequest(address, "fast", SIZE, triton=TritonOptions(transport="raw")), strength=strength
        ) as engine,
    ):
        assert engine.spec.takes_strength is bool(shape)
        engine.reserve()
        engine.submit(np.zeros((SIZE[1], SIZE[0], 3), np.uint8), None)
        assert engine.collect(60) is not None
    assert {len(inputs) for inputs in other.inputs} == {2 if shape else 1}
    if shape:
        assert np.frombuffer(other.inputs[-1][name], np.float32).tolist() == [0.25]


def test_certificates_and_keys_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_text("no certificate")
    for options, named in (
        (TritonOptions(tls_ca=file), f"{file}: "),
        (TritonOptions(tls_certificate=file, tls_key=file), f"{file}, {file}: "),
    ):
        with pytest.raises(EngineError, match="A certificate or key cannot be used") as told:
            TritonClient("127.0.0.1:1", parse("triton://127.0.0.1:1/fast-x2"), SIZE, options)
        assert told.value.facts.startswith(named) and "PEM" in told.value.fix


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: self signed certificate: ok", "failed: self signed certificate"),
        ("OPENSSL_internal:WRONG_VERSION_NUMBER: Invalid certificate verification context", "wrong version number"),
    ],
)
def test_of_a_refusal_the_reason_is_told_and_not_its_beginning(text: str, told: str) -> None:
    class Failure:
        def message(self) -> str:
            return f"failed to connect to all addresses: Tls handshake failed ({'x' * 200}): {text}"

    facts = GrpcFailure.of(Failure()).facts
    assert facts.startswith("TLS was refused: ") and facts.endswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("errors resolving a:1: [field:hostname lookup:address lookup failed for a:1: Domain name not found]", NAME),
        ("DNS resolution failed for a:1: C-ares status is not ARES_SUCCESS qtype=A: Domain name not found", NAME),
        ("failed to connect to all addresses; last error: UNAVAILABLE: ipv4:127.0.0.1:1: Socket closed", NOT_GRPC),
        (
            "failed to connect to all addresses; last error: UNAVAILABLE: Handshake read failed (Socket closed)",
            NOT_GRPC,
        ),
        ("failed to connect to all addresses; last error: UNAVAILABLE: Failed parsing HTTP/2 (Expected ...)", NOT_GRPC),
        ("failed to connect to all addresses; last error: UNKNOWN: Connection refused (111)", "connection refused"),
        ("Socket closed", "Socket closed"),  # in the middle of a frame
    ],
)
def test_what_grpc_says_is_told_in_words(text: str, told: str) -> None:
    assert GrpcFailure.of(SimpleNamespace(message=lambda: text)).facts == told


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
        options = TritonOptions(token_file=file, token_header=header)
        TritonClient(parse(address).servers[0], parse(address), SIZE, options).close()
    assert told[0][header] == sent


def test_a_server_that_crashes_with_shared_memory_gets_none() -> None:
    with serving(Other(version="2.49.0")) as address:
        with pytest.raises(EngineError, match="no shared memory") as told:
            engines.load(EngineRequest(address, "fast", SIZE, triton=TritonOptions(transport="shm")))
        assert "it is 2.49.0" in told.value.facts
        with closing(TritonClient(parse(address).servers[0], parse(address), SIZE, TritonOptions())) as connection:
            assert make_slots(connection, 1, 1.0)[1] == "raw"


def jpeg_answer(file: bytes) -> Any:
    told = service_pb2.ModelInferResponse(raw_output_contents=[len(file).to_bytes(4, "little") + file])
    told.outputs.add(name="sr_jpeg", datatype="BYTES", shape=[1, 1])
    return told


JPEG = cv2.imencode(".jpg", np.zeros((32, 32, 3), np.uint8))[1].tobytes()
HEADER = JPEG.index(b"\xff\xc0") + 5  # height and width, two bytes each
ENORMOUS = JPEG[:HEADER] + b"\xff" * 4 + JPEG[HEADER + 4 :]
SHORT = Other().ModelInfer(None, None)
SHORT.raw_output_contents[0] = SHORT.raw_output_contents[0][:-7]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("transport", "damaged"),
    [
        pytest.param("raw", SHORT, id="short"),
        pytest.param("raw", service_pb2.ModelInferResponse(), id="none"),
        pytest.param("jpeg", jpeg_answer(b""), id="an empty file"),
        pytest.param("jpeg", jpeg_answer(b"xx"), id="no JPEG file"),
        pytest.param("jpeg", jpeg_answer(ENORMOUS), id="one of 65535x65535"),
        pytest.param("jpeg", service_pb2.ModelInferResponse(), id="no file"),
    ],
)
def test_a_damaged_answer_is_a_fault_like_others(transport: Transport, damaged: Any) -> None:
    model, good = (
        ("fast-x2", Other().ModelInfer(None, None)) if transport == "raw" else ("fast-x2-jpeg", jpeg_answer(JPEG))
    )

    class Damaging(Other):
        answer = damaged

        def ModelInfer(self, request: Any, context: Any) -> Any:
            return self.answer if request.model_name == model else super().ModelInfer(request, context)

    other, options = Damaging(), TritonOptions(transport=transport)
    with serving(other) as address:
        with pytest.raises(EngineError, match="is not an upscaling model"):
            engines.load(EngineRequest(address, "fast", SIZE, triton=options))
        request = EngineRequest(
            address, "fast", SIZE, triton=options, fallback=("bicubic",), start="standby", frame_timeout=1.0
        )
        with engines.load(request) as engine:
            frames_until(engine, lambda: "trying again" in engine.spec.state.reason)
            for other.answer, name in ((good, "triton"), (damaged, "bicubic"), (good, "triton")):
                frames_until(engine, lambda name=name: engine.spec.name == name)  # type: ignore[misc]


def test_a_frame_that_a_full_server_does_not_take_costs_itself_alone() -> None:
    class Full(Other):
        frames = refused = 0
        always = False

        def ModelInfer(self, request: Any, context: Any) -> Any:
            if any(request.raw_input_contents[0]):  # not one of the blank frames of a connection
                self.frames += 1
                if self.always or self.frames % 5 == 0:
                    self.refused += 1
                    context.abort(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")
            return super().ModelInfer(request, context)

    full, raw = Full(), TritonOptions(transport="raw")
    with (
        serving(full) as address,
        engines.load(EngineRequest(address, "fast", SIZE, triton=raw, fallback=("bicubic",))) as engine,
    ):
        made = []
        for _ in range(50):
            run(engine, 1, first=1, checked=False)
            made.append(engine.spec.name)
            assert "trying again" not in engine.spec.state.reason
        assert made.count("bicubic") == full.refused == 10
        full.always = True  # one that takes nothing is given up
        frames_until(engine, lambda: "Exceeds maximum queue size; trying again" in engine.spec.state.reason)


def test_closing_a_slot_cancels_its_late_request() -> None:
    hang, begun, ended, go = (threading.Event() for _ in range(4))

    class Hanging(Other):
        def ModelInfer(self, request: Any, context: Any) -> Any:
            if hang.is_set():
                context.add_callback(ended.set)  # gRPC calls it when nobody waits for the answer any more
                begun.set()
                go.wait(20)
            return super().ModelInfer(request, context)

    with serving(Hanging()) as address:
        server, options = parse(address).servers[0], TritonOptions(transport="raw")
        with closing(TritonClient(server, parse(address), SIZE, options)) as connection:
            (slot,), _ = make_slots(connection, 1, 30.0)
            try:
                hang.set()
                slot.launch(np.zeros((16, 16, 3), np.uint8))
                assert begun.wait(10)
                with pytest.raises(TimeoutError):
                    slot.wait(0.05)
                slot.close()  # the connection stays open: closing that would end the request, too
                assert ended.wait(5), "the server goes on with a frame for nobody"
                with pytest.raises(EngineError, match="does not answer"):
                    slot.wait(5)
                slot.close()  # once more does no harm
            finally:
                go.set()


def test_of_two_servers_one_that_hangs_costs_no_picture() -> None:
    hang, go = threading.Event(), threading.Event()

    class Hanging(Other):
        def ModelInfer(self, request: Any, context: Any) -> Any:
            if hang.is_set():
                go.wait(20)
            return super().ModelInfer(request, context)

    with serving(Other()) as one, serving(Hanging()) as two:
        address = f"{one.rpartition('/')[0]},{two.removeprefix('triton://')}"
        raw = TritonOptions(transport="raw")
        with engines.load(
            EngineRequest(address, "fast", SIZE, triton=raw, fallback=("bicubic",), frame_timeout=0.6)
        ) as engine:
            hang.set()
            for _ in range(4):
                run(engine, 1, checked=False)
                assert (engine.spec.name, engine.spec.state.reason) == ("triton", "")
            go.set()


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


def run(engine: Engine[int], count: int, *, first: int = 0, checked: bool = True) -> None:
    """`count` frames of rising grey levels, each of which has to come out as itself."""

    def submit() -> None:
        for number in range(first, first + count):
            engine.reserve()
            engine.submit(np.full((16, 16, 3), number % 250, np.uint8), number)

    submitter = threading.Thread(target=submit, daemon=True)
    submitter.start()
    for number in range(first, first + count):
        done = engine.collect(10)
        assert done is not None and done[1] == number
        assert not checked or (done[0] == number % 250).all()
    submitter.join(10)


def frames_until(engine: Engine[int], true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until, engine.spec
        run(engine, 1, first=1, checked=False)
        time.sleep(0.002)


def until_asked(engine: Engine[int], station: Station, *, each: int) -> None:
    """`each` frames and again, until one of them goes to `station`; 60 s at most."""
    count, until = station.frames, time.monotonic() + 60
    while station.frames == count and time.monotonic() < until:
        run(engine, each)


def test_the_load_is_shared_evenly() -> None:
    stations = [Station() for _ in range(3)]
    with shared(*stations) as engine:
        run(engine, 90)
    assert [station.frames for station in stations] == pytest.approx([30, 30, 30], abs=6)


def test_a_dead_one_is_left_out_and_found_again() -> None:
    good, bad = Station(), Station()
    with shared(good, bad, retry_after=0.05) as engine:
        run(engine, 10)
        bad.away = True
        run(engine, 30)
        count = bad.frames
        run(engine, 30)
        assert bad.frames == count
        bad.away = False
        until_asked(engine, bad, each=6)
        assert bad.frames > count


def test_one_that_is_found_again_does_not_get_everything() -> None:
    good, bad = Station(), Station()
    with shared(good, bad, retry_after=0.02) as engine:
        run(engine, 90)
        bad.away = True
        run(engine, 6)
        bad.away = False
        until_asked(engine, bad, each=1)
        count = good.frames
        run(engine, 30)
        assert good.frames - count >= 8


def test_one_that_is_found_again_makes_up_for_nothing() -> None:
    good, bad = Station(), Station()
    with shared(good, bad, retry_after=0.02) as engine:
        bad.away = True
        for _ in range(200):  # a camera's frames come one by one; after a night they would be a million
            run(engine, 1)
        bad.away = False
        until_asked(engine, bad, each=1)
        before = good.frames
        for _ in range(40):
            run(engine, 1)
        assert good.frames - before == pytest.approx(20, abs=2)


def test_a_late_one_passes_its_frame_on() -> None:
    good, slow = Station(), Station()
    with shared(good, slow) as engine:
        slow.late = 30.0
        begun = time.monotonic()
        run(engine, 30)
        assert time.monotonic() - begun < 20
        assert slow.frames <= 3


def test_one_that_is_left_out_is_freed() -> None:
    good, bad, freed = Station(), Station(), threading.Event()

    def load() -> Engine[object]:
        made = bad.load()
        return SlotEngine(made.spec, slots_of(made), close=freed.set)

    with balanced({"good": good.load, "bad": load}, 3, frame_timeout=0.1) as engine:
        run(engine, 10)
        bad.away = True
        run(engine, 10)
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
        camera = threading.Thread(target=run, args=(engine, 3), daemon=True)
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
            run(engine, 2, checked=False)
        before = good.frames, full.frames
        run(engine, 60, checked=False)
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
        run(engine, 9)
        first.away = second.away = True
        run(engine, 30)
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
        run(engine, 4)
        one.away = two.away = True
        engine.reserve()
        with pytest.raises(EngineError, match="The server is away"):
            engine.submit(np.zeros((16, 16, 3), np.uint8), 0)


def test_a_frame_in_flight_when_nobody_is_left_is_told_of_each_time() -> None:
    one, two = Station(), Station()
    with shared(one, two) as engine:
        run(engine, 4)
        engine.reserve()
        engine.submit(np.zeros((16, 16, 3), np.uint8), 0)
        one.away = two.away = True
        for _ in range(2):
            with pytest.raises(EngineError, match="The server is away"):
                engine.collect(5)
