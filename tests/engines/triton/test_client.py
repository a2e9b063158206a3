"""The client, against servers in this process that speak Triton's protocol."""

from __future__ import annotations

import threading
from collections.abc import Iterator
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
from engines.base import Strength
from engines.errors import EngineError
from engines.request import EngineRequest, Transport, TritonOptions
from engines.triton.address import parse
from engines.triton.client import TritonClient
from engines.triton.grpc_failure import NOT_GRPC, GrpcFailure
from engines.triton.slots import make_slots
from tests.support.rising_frames import SIZE, frames_until, run_frames

NAME = "there is no host of this name"


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
            run_frames(engine, 1, first=1, checked=False)
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
                run_frames(engine, 1, checked=False)
                assert (engine.spec.name, engine.spec.state.reason) == ("triton", "")
            go.set()
