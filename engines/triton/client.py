"""A Triton server: what it is, what it serves, and what its errors mean."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from engines.catalog.contract import MAX_SCALE, STRENGTH_INPUT
from engines.errors import EngineError, FrameRefusedError
from engines.request import TritonOptions
from engines.triton.address import GRPC_PORT, Address, is_this_machine
from engines.triton.grpc_failure import Cause, GrpcFailure

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 5.0
"""How long requests other than frames may take."""
FIRST_FRAME_TIMEOUT_S = 20.0
"""How long the first frame of a size may take: the server may compile the network for it."""
PORT_HINT = f"The port is that of gRPC, {GRPC_PORT} by default, not of HTTP or metrics"
TLS_HINT = "See --tls-ca, --tls-certificate, --tls-key."
SAFE_SHARED_MEMORY_SINCE = (2, 50)
"""The version from which a server keeps shared memory that it is still working in when asked to unregister it. Earlier
ones crash (github.com/triton-inference-server/server, pull request 7567)."""


class RequestRejectedError(EngineError):
    """The server has answered, and finds fault with the request itself: with the size of its picture, most likely."""


class TritonClient:
    """A connection to a server that serves the model in this input size."""

    def __init__(self, server: str, address: Address, size: tuple[int, int], options: TritonOptions) -> None:
        """Connect to `server`, HOST:PORT, and check what it serves for inputs of `size` (width, height).

        Raises EngineError; else close() ends the connection.
        """
        from tritonclient import grpc

        self.grpc: Any = grpc
        self.server, self.model, self.version, self.options = server, address.model, address.version, options
        self.input, self.is_here = size, is_this_machine(server)
        self.headers = self._headers()
        self.client = self._client()
        self._closed = False
        self._on_close: list[Callable[[], Any]] = [self.client.close]
        try:
            self._check_server()
            self.scale = self._check_model()
            self.output = (size[0] * self.scale, size[1] * self.scale)
        except BaseException:
            self.close()
            raise

    def _headers(self) -> dict[str, str]:
        file, header = self.options.token_file, self.options.token_header
        if not file:
            return {}
        try:
            token = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise EngineError(
                f"The token for {self.server} cannot be read", f"{file}: {error}", "Give another --token-file."
            ) from None
        return {header: f"Bearer {token}" if header == "authorization" else token}

    def _client(self) -> Any:
        options = self.options
        width, height = self.input
        # What an answer of the largest scale needs, and some for the envelope; gRPC's own limit is 4 MB.
        limit = width * height * 3 * MAX_SCALE**2 + 2**20
        arguments: list[tuple[str, int | str]] = [
            ("grpc.max_send_message_length", limit),
            ("grpc.max_receive_message_length", limit),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1_000),
            # Connections of their own: a second engine for the same server must not inherit the first one's state.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if not self.is_here:  # a name may stand for many servers, such as the pods of a cluster
            arguments.append(("grpc.lb_policy_name", "round_robin"))
        tls = {
            "root_certificates": options.tls_ca,
            "certificate_chain": options.tls_certificate,
            "private_key": options.tls_key,
        }
        files = {name: str(path) for name, path in tls.items() if path}
        for file in files.values():  # the client would read them too, and leave half of itself behind if it cannot
            try:
                Path(file).read_bytes()
            except OSError as error:
                raise EngineError(
                    "A certificate or key cannot be read", f"{file}: {error.strerror}", TLS_HINT
                ) from None
        context, looked_at = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), f"{options.tls_ca}"
        try:  # this says what is wrong with them, which gRPC does not
            if options.tls_ca:
                context.load_verify_locations(options.tls_ca)
            if options.tls_certificate:
                looked_at = f"{options.tls_certificate}, {options.tls_key}"
                context.load_cert_chain(options.tls_certificate, options.tls_key, password="")
        except ssl.SSLError as error:
            facts = f"{looked_at}: {(error.reason or str(error)).replace('_', ' ').lower()}"
            fix = f"{TLS_HINT} They are PEM files, the key without a passphrase."
            raise EngineError("A certificate or key cannot be used", facts, fix) from None
        return self.grpc.InferenceServerClient(
            self.server, ssl=options.tls or bool(files), channel_args=arguments, **files
        )

    def ask(self, call: Callable[..., Any], *arguments: Any, timeout: float = REQUEST_TIMEOUT_S, **more: Any) -> Any:
        """Ask the server: call a method of the client, for at most `timeout` seconds. Raises EngineError."""
        try:
            return call(*arguments, headers=self.headers, client_timeout=timeout, **more)
        except self.grpc._utils.InferenceServerException as error:
            raise self.error(error) from None

    def error(self, error: Any) -> EngineError:
        """Return what an exception of the client means."""
        status, (cause, facts) = str(error.status()).rpartition(".")[2], GrpcFailure.of(error)
        match status:
            case "UNAVAILABLE" if cause is Cause.OVERLOADED:
                fix = "Serve fewer cameras, a faster model, or more instances; see docs/scale.md."
                return FrameRefusedError(f"The Triton server {self.server} is overloaded", facts, fix)
            case "UNAVAILABLE" if cause is Cause.RESTRICTED:
                return EngineError(
                    f"The Triton server {self.server} refuses this client", facts, "See --token-file, --token-header."
                )
            case "UNAVAILABLE" if cause is Cause.MODEL_NOT_READY:
                fix = "It may be loading; look at the server's log."
                return EngineError(f"The model {self.model} is not ready on {self.server}", facts, fix)
            case "UNAVAILABLE" if cause is Cause.TLS_REFUSED:
                fix = f"{TLS_HINT} Leave all --tls options out if the server has no TLS."
                return EngineError(f"The Triton server {self.server} cannot be reached", facts, fix)
            case "UNAVAILABLE" if cause is Cause.NOT_GRPC:
                fix = f"{PORT_HINT}; if the server requires TLS or a client certificate, see --tls, --tls-certificate."
                return EngineError(f"The Triton server {self.server} cannot be reached", facts, fix)
            case "UNAVAILABLE":
                fix = "Start the server, or check the address; see --tls if it requires TLS."
                return EngineError(f"There is no Triton server at {self.server}", facts, fix)
            case "DEADLINE_EXCEEDED" | "CANCELLED":
                facts = facts if status == "CANCELLED" else "it did not answer in time"
                return EngineError(f"The Triton server {self.server} does not answer", facts, "Look at its log.")
            case "UNAUTHENTICATED" | "PERMISSION_DENIED":
                return EngineError(
                    f"The Triton server {self.server} refuses this client", facts, "See --token-file, --tls-key."
                )
            case "UNIMPLEMENTED":
                return EngineError(
                    f"What answers at {self.server} is not a Triton server that this program can talk to",
                    f"it does not speak the inference protocol, version 2: {facts}",
                    f"{PORT_HINT}.",
                )
        return RequestRejectedError(f"The Triton server {self.server} refuses the frame", facts, "Look at its log.")

    def _check_server(self) -> None:
        about = self.ask(self.client.get_server_metadata, timeout=self.options.timeout)
        numbers = [int(number) for number in re.findall(r"\d+", about.version)[:2]]
        if numbers[:1] != [2]:
            raise EngineError(
                f"The server at {self.server} is of another version",
                f"it is {about.name} {about.version}; this program talks to version 2",
                "Use a Triton server 2.x.",
            )
        self.about, self.extensions = f"{about.name} {about.version}", set(about.extensions)
        self.apart = "" if self.is_here else "it is another machine"
        """Why it and this program cannot work in the same memory; empty if they can."""
        if self.is_here and tuple(numbers) < SAFE_SHARED_MEMORY_SINCE:
            self.apart = f"it is {about.version}; before 2.50 it crashes if memory goes while it is late"

    def serves(self, model: str) -> bool:
        """Return whether a model is there and ready. Raises EngineError."""
        return bool(self.ask(self.client.is_model_ready, model, self.version))

    def _check_model(self) -> int:
        """The served model's scale, found by its answer to a blank frame. Raises EngineError."""
        if not self.serves(self.model):
            index = self.ask(self.client.get_model_repository_index).models
            versions = [entry for entry in index if entry.name == self.model]
            # An entry that has not been loaded has no version.
            ours = [
                entry for entry in versions if not (self.version and entry.version) or entry.version == self.version
            ]
            if ours:
                last = ours[-1]
                facts = f"its state is {last.state or 'unknown'}" + (f": {last.reason}" if last.reason else "")
                fix = "Look at the server's log; it may still be loading."
                raise EngineError(f"The model {self.model} is not ready on {self.server}", facts, fix)
            if versions:
                facts = f"there are: {', '.join(entry.version for entry in versions)}"
                fix = "Name one of these, or none for the newest."
                raise EngineError(f"There is no version {self.version} of {self.model} on {self.server}", facts, fix)
            names = ", ".join(sorted({entry.name for entry in index})) or "none"
            fix = "Give one of these; scripts/triton_repository.py writes a repository of the shipped models."
            raise EngineError(f"There is no model {self.model} on {self.server}", f"there are: {names}", fix)
        metadata = self.ask(self.client.get_model_metadata, self.model, self.version)
        self._check_ports(metadata)
        self.strength_rank = strength_rank(metadata)
        width, height = self.input
        blank = np.zeros((1, height, width, 3), np.uint8)
        tensor = self.grpc.InferInput("frame", list(blank.shape), "UINT8")
        tensor.set_data_from_numpy(blank)
        inputs = [tensor, *self.strength_tensors(self.strength_rank, 1.0)]
        try:
            given = self.ask(
                self.client.infer, self.model, inputs, model_version=self.version, timeout=FIRST_FRAME_TIMEOUT_S
            )
        except RequestRejectedError as error:
            raise EngineError(
                f"The model {self.model} on {self.server} does not take pictures of {width}x{height}",
                error.facts,
                "Ask the camera for another size with --size, or serve it for larger ones.",
            ) from None
        try:
            answer = given.as_numpy("sr")
        except ValueError as error:
            raise self.refusal(f"its answer cannot be read: {error}") from None
        if answer is None or answer.ndim != 4:
            raise self.refusal(f"of {width}x{height} it makes {None if answer is None else list(answer.shape)}")
        scale = int(answer.shape[1] // height)
        if answer.dtype != np.uint8 or answer.shape != (1, scale * height, scale * width, 3) or scale < 1:
            raise self.refusal(f"of {width}x{height} it makes {list(answer.shape)} {answer.dtype}")
        return scale

    def strength_tensors(self, rank: int, strength: float) -> list[Any]:
        """Return the tensor with the strength of one frame; none for a model that takes none, whose `rank` is 0."""
        if not rank:
            return []
        tensor = self.grpc.InferInput(STRENGTH_INPUT, [1] * rank, "FP32")
        tensor.set_data_from_numpy(np.full([1] * rank, strength, np.float32))
        return [tensor]

    def strength_rank_of(self, model: str) -> int:
        """Return how many axes the strength of another model of the server has, 0 for none. Raises EngineError."""
        return strength_rank(self.ask(self.client.get_model_metadata, model, self.version))

    def refusal(self, facts: str) -> EngineError:
        """Return what is said of a model that breaks the contract; `facts` says how."""
        return EngineError(
            f"{self.model} on {self.server} is not an upscaling model this program can use",
            facts,
            "It takes frame, uint8 [N, H, W, 3] BGR, and returns sr, uint8 [N, s*H, s*W, 3]; "
            "scripts/triton_repository.py writes such models.",
        )

    def _check_ports(self, metadata: Any) -> None:
        """Check the contract of engines/models, as far as the metadata go. Raises EngineError."""
        frames = [port for port in metadata.inputs if port.name != STRENGTH_INPUT]
        for kind, wanted, ports in (("input", "frame", frames), ("output", "sr", metadata.outputs)):
            if [port.name for port in ports] != [wanted]:
                raise self.refusal(f"its {kind}s are {', '.join(port.name for port in ports)}")
            shape = list(ports[0].shape)
            if ports[0].datatype != "UINT8" or len(shape) != 4 or shape[3] not in (3, -1):
                raise self.refusal(f"its {kind} is {ports[0].datatype} {shape}")
            size = (shape[2], shape[1])
            if kind == "input" and any(have not in (-1, want) for have, want in zip(size, self.input, strict=True)):
                raise EngineError(
                    f"The model {self.model} on {self.server} takes pictures of {size[0]}x{size[1]} only",
                    f"the input is {self.input[0]}x{self.input[1]}",
                    f"Ask the camera for that size: --size {size[0]}x{size[1]}.",
                )

    def also_on_close(self, work: Callable[[], Any]) -> None:
        """Have close() call `work`, before what was given earlier."""
        self._on_close.append(work)

    def close(self) -> None:
        """Call what also_on_close() was given, last first. Never raises: the server may be gone."""
        if not self._closed:
            self._closed = True
            for work in reversed(self._on_close):
                try:
                    work()
                except Exception as error:
                    log.debug("closing %s: %s", self.server, error)


def strength_rank(metadata: Any) -> int:
    """Return how many axes the strength of a served model has: 2 where pictures are batched, else 1; 0: it has none."""
    found = [port for port in metadata.inputs if port.name == STRENGTH_INPUT and port.datatype == "FP32"]
    return len(found[0].shape) if found else 0
