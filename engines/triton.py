"""Triton Inference Server, on this host or across a network: one server, its contract, and frames in flight there.

Pictures travel in system shared memory (the server on this host), in CUDA shared memory (the same with a discrete
GPU), raw, or as JPEG files that the served model NAME-jpeg decodes and encodes on the server.
"""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import logging
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from engines import regions
from engines.base import EngineError, Image, Spec
from engines.slots import Slots

log = logging.getLogger(__name__)

PORT = 8001
PAGE = 4096
OWN_TIME = 5.0
"""Seconds that questions other than frames may take, all but the first frame of a size."""
FIRST = 20.0
"""Seconds that the first frame of a size may take: the server may compile the network for it."""
LARGEST_SCALE = 8


@dataclass(frozen=True)
class Options:
    """How to talk to servers; the configuration's section `triton`."""

    transport: str = "auto"
    """shm, cuda, raw, jpeg, or auto: shm on the same host, else jpeg where it is served, else raw."""
    quality: int = 90
    tls: bool = False
    tls_ca: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    token_file: Path | None = None
    token_header: str = "authorization"
    timeout: float = 2.0
    """Seconds to wait for a connection."""


@dataclass(frozen=True)
class Address:
    """triton://HOST[:PORT][,HOST[:PORT] ...]/MODEL[/VERSION]"""

    servers: tuple[str, ...]
    model: str
    version: str = ""

    def __str__(self) -> str:
        return f"triton://{','.join(self.servers)}/{self.model}" + (f"/{self.version}" if self.version else "")

    @property
    def scale(self) -> int | None:
        """As the model's name has it (engines.catalog)."""
        match = re.fullmatch(r".+-x(\d+)(-\w+)?", self.model)
        return int(match[1]) if match else None


def parse(text: str) -> Address:
    """The address that `text` is. Raises EngineError."""
    match = re.fullmatch(r"triton://([^/\s]+)/([^/\s]+)(?:/(\d+))?/?", text)
    servers = match[1].split(",") if match else []
    for server in servers:
        host, port = re.fullmatch(r"(\[[^\]]+\]|[^:]*)(?::(.*))?", server, re.DOTALL).groups() if server else ("", "")  # type: ignore[union-attr]
        if not host or (port is not None and not (port.isdecimal() and 0 < int(port) < 65536)):
            match = None
    if not match:
        raise EngineError(
            f"{text} is no address of a Triton server",
            "it reads triton://HOST:PORT/MODEL, with several servers triton://A:8001,B:8001/MODEL",
            "For example --engine triton://127.0.0.1:8001/fast-x2.",
        )
    ported = [server if re.search(r":\d+$", server) else f"{server}:{PORT}" for server in servers]
    return Address(tuple(ported), match[2], match[3] or "")


def unavailable() -> str | None:
    """Why there is no client here; None if there is one."""
    if importlib.util.find_spec("tritonclient") and importlib.util.find_spec("grpc"):
        return None
    return "the package tritonclient[grpc] is not installed (pip install -e '.[triton]')"


def is_here(server: str) -> bool:
    """Whether HOST:PORT is this machine."""
    host = server.rpartition(":")[0].strip("[]")
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    own = {address.address.partition("%")[0] for each in psutil.net_if_addrs().values() for address in each}
    return any(ipaddress.ip_address(str(one).partition("%")[0]).is_loopback or one in own for one in found)


def reason(error: Any) -> str:
    """The part of a gRPC message that tells something."""
    text = " ".join(str(error.message() or error).split())
    for known in ("Connection refused", "Connection reset", "No route to host", "Network is unreachable"):
        if known.lower() in text.lower():
            return known.lower()
    if "dns" in text.lower() or "name resolution" in text.lower():
        return "there is no host of this name"
    if "ssl" in text.lower() or "certificate" in text.lower() or "handshake" in text.lower():
        return f"TLS was refused: {text[:160]}"
    return text[:200]


class Connection:
    """A server that serves the model in this input size. Raises EngineError; close() ends it."""

    def __init__(self, server: str, address: Address, size: tuple[int, int], options: Options) -> None:
        from tritonclient import grpc

        self.grpc: Any = grpc
        self.server, self.model, self.version, self.options = server, address.model, address.version, options
        self.input = size
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
        one = self.options
        width, height = self.input
        # What an answer of the largest scale needs, and some for the envelope; gRPC's own limit is 4 MB.
        limit = width * height * 3 * LARGEST_SCALE**2 + 2**20
        arguments = [
            ("grpc.max_send_message_length", limit),
            ("grpc.max_receive_message_length", limit),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1_000),
            # Connections of their own: a second engine for the same server must not inherit the first one's state.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        tls = {"root_certificates": one.tls_ca, "certificate_chain": one.tls_certificate, "private_key": one.tls_key}
        files = {name: str(path) for name, path in tls.items() if path}
        for file in files.values():  # the client would read them too, and leave half of itself behind if it cannot
            try:
                Path(file).read_bytes()
            except OSError as error:
                fix = "See --tls-ca, --tls-certificate, --tls-key."
                raise EngineError("A certificate or key cannot be read", f"{file}: {error.strerror}", fix) from None
        return self.grpc.InferenceServerClient(self.server, ssl=one.tls or bool(files), channel_args=arguments, **files)

    def ask(self, call: Callable[..., Any], *arguments: Any, timeout: float = OWN_TIME, **more: Any) -> Any:
        """A question to the server. Raises EngineError."""
        try:
            return call(*arguments, headers=self.headers, client_timeout=timeout, **more)
        except self.grpc._utils.InferenceServerException as error:
            raise self.error(error) from None

    def error(self, error: Any) -> EngineError:
        """What an exception of the client means."""
        status, facts = str(error.status()).rpartition(".")[2], reason(error)
        match status:
            case "UNAVAILABLE" if re.search("timeout expired|maximum queue size", facts):
                fix = "Serve fewer cameras, a faster model, or more instances; see docs/scale.md."
                return EngineError(f"The Triton server {self.server} is overloaded", facts, fix)
            case "UNAVAILABLE" if "restricted" in facts:
                return EngineError(f"The Triton server {self.server} refuses us", facts, "See --token-file.")
            case "UNAVAILABLE" if "model" in facts:
                fix = "It may be loading; look at the server's log."
                return EngineError(f"The model {self.model} is not ready on {self.server}", facts, fix)
            case "UNAVAILABLE":
                fix = "Start the server, or check the address; see --tls if it wants TLS."
                return EngineError(f"There is no Triton server at {self.server}", facts, fix)
            case "DEADLINE_EXCEEDED" | "CANCELLED":
                facts = facts if status == "CANCELLED" else "it did not answer in time"
                return EngineError(f"The Triton server {self.server} does not answer", facts, "Look at its log.")
            case "UNAUTHENTICATED" | "PERMISSION_DENIED":
                return EngineError(f"The Triton server {self.server} refuses us", facts, "See --token-file, --tls-key.")
            case "UNIMPLEMENTED":
                return EngineError(
                    f"What answers at {self.server} is no Triton server this program can talk to",
                    f"it does not speak the inference protocol, version 2: {facts}",
                    "The port is that of gRPC, 8001 by default, not of HTTP or metrics.",
                )
        return EngineError(f"The Triton server {self.server} refuses the frame", facts, "Look at its log.")

    def _check_server(self) -> None:
        about = self.ask(self.client.get_server_metadata, timeout=self.options.timeout)
        version = about.version.partition(".")[0]
        if version != "2":
            raise EngineError(
                f"The server at {self.server} is of another version",
                f"it is {about.name} {about.version}; this program talks to version 2",
                "Use a Triton server 2.x.",
            )
        self.about, self.extensions = f"{about.name} {about.version}", set(about.extensions)

    def serves(self, model: str) -> bool:
        """Whether a model is there and ready."""
        return bool(self.ask(self.client.is_model_ready, model, self.version))

    def _check_model(self) -> int:
        """The served model's scale, found by its answer to a blank frame. Raises EngineError."""
        if not self.serves(self.model):
            index = self.ask(self.client.get_model_repository_index).models
            states = {model.name: model for model in index}
            if self.model in states:
                one = states[self.model]
                facts = f"its state is {one.state or 'unknown'}" + (f": {one.reason}" if one.reason else "")
                fix = "Look at the server's log; it may still be loading."
                raise EngineError(f"The model {self.model} is not ready on {self.server}", facts, fix)
            names = ", ".join(sorted(states)) or "none"
            fix = "Give one of these; scripts/triton_repository.py writes a repository of the shipped models."
            raise EngineError(f"There is no model {self.model} on {self.server}", f"there are: {names}", fix)
        told = self.ask(self.client.get_model_metadata, self.model, self.version)
        self._check_ports(told)
        width, height = self.input
        blank = np.zeros((1, height, width, 3), np.uint8)
        tensor = self.grpc.InferInput("frame", list(blank.shape), "UINT8")
        tensor.set_data_from_numpy(blank)
        try:
            answer = self.ask(
                self.client.infer, self.model, [tensor], model_version=self.version, timeout=FIRST
            ).as_numpy("sr")
        except EngineError as error:
            if "refuses the frame" not in error.problem:
                raise
            raise EngineError(
                f"The model {self.model} on {self.server} does not take pictures of {width}x{height}",
                error.facts,
                "Ask the camera for another size with --size, or serve it for larger ones.",
            ) from None
        scale = int(answer.shape[1] // height)
        if answer.dtype != np.uint8 or answer.shape != (1, scale * height, scale * width, 3) or scale < 1:
            raise self.refusal(f"of {width}x{height} it makes {list(answer.shape)} {answer.dtype}")
        return scale

    def refusal(self, facts: str) -> EngineError:
        return EngineError(
            f"{self.model} on {self.server} is not an upscaling model this program can use",
            facts,
            "It takes frame, uint8 [N, H, W, 3] BGR, and gives sr, uint8 [N, s*H, s*W, 3]; "
            "scripts/triton_repository.py writes such.",
        )

    def _check_ports(self, told: Any) -> None:
        """The contract of engines/models, as far as metadata tell."""
        for kind, wanted, ports in (("input", "frame", told.inputs), ("output", "sr", told.outputs)):
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
        self._on_close.append(work)

    def close(self) -> None:
        """Undo what also_on_close() was told, last first. Never raises: the server may be gone."""
        if not self._closed:
            self._closed = True
            for work in reversed(self._on_close):
                try:
                    work()
                except Exception as error:
                    log.debug("closing %s: %s", self.server, error)


class Call:
    """One request on its way. Late answers to a request nobody waits for any more end here."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.result: Any = None
        self.error: Any = None
        self.finished = 0.0

    def finish(self, result: Any, error: Any) -> None:
        """Called by gRPC's thread."""
        self.result, self.error, self.finished = result, error, time.monotonic()
        self.done.set()


class TritonSlot:
    """One frame at one server. What differs between the ways to carry pictures is left to _send() and _receive()."""

    model_suffix = ""

    def __init__(self, connection: Connection, deadline: float) -> None:
        self._connection, self._deadline = connection, deadline
        (width, height), (out_width, out_height) = connection.input, connection.output
        self._shape, self._out_shape = (height, width, 3), (out_height, out_width, 3)
        self.input: Image = np.empty(self._shape, np.uint8)
        self._output: Image = np.empty(self._out_shape, np.uint8)
        self._call, self._context = Call(), None
        self.finished = 0.0

    def launch(self, image: Image) -> None:
        np.copyto(self.input, image)
        self._call = call = Call()
        one = self._connection
        inputs, outputs = self._send()
        try:
            self._context = one.client.async_infer(
                one.model + self.model_suffix,
                inputs,
                call.finish,
                model_version=one.version,
                outputs=outputs,
                timeout=int(self._deadline * 1e6),  # the server drops it rather than computing it for nobody
                client_timeout=self._deadline,
                headers=one.headers,
            )
        except one.grpc._utils.InferenceServerException as error:
            raise one.error(error) from None

    def wait(self, timeout: float) -> Image:
        call = self._call
        if not call.done.wait(timeout):
            raise TimeoutError
        if call.error is not None:
            raise self._connection.error(call.error)
        self.finished = call.finished
        return self._receive(call.result)

    def _send(self) -> tuple[list[Any], list[Any]]:
        """Input and output tensors of a request for what is in `input`."""
        tensor = self._connection.grpc.InferInput("frame", [1, *self._shape], "UINT8")
        tensor.set_data_from_numpy(self.input[None])
        return [tensor], [self._connection.grpc.InferRequestedOutput("sr")]

    def _receive(self, result: Any) -> Image:
        """The picture in an answer."""
        picture = result.as_numpy("sr")
        if picture is None or picture.shape != (1, *self._out_shape):
            raise self._connection.refusal(f"it gave {None if picture is None else picture.shape}")
        np.copyto(self._output, picture[0])  # gRPC's memory is read-only; sinks draw into what they are lent
        return self._output

    def close(self) -> None:
        if not self._call.done.is_set() and self._context is not None:
            self._context.cancel()


class JpegSlot(TritonSlot):
    """JPEG there and back: 720p answers at 30 a second are 660 Mbit/s raw and some 40 as JPEG."""

    model_suffix = "-jpeg"

    def _send(self) -> tuple[list[Any], list[Any]]:
        quality = [cv2.IMWRITE_JPEG_QUALITY, self._connection.options.quality]
        file = cv2.imencode(".jpg", self.input, quality)[1].tobytes()
        tensor = self._connection.grpc.InferInput("frame_jpeg", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[file]], np.object_))
        return [tensor], [self._connection.grpc.InferRequestedOutput("sr_jpeg")]

    def _receive(self, result: Any) -> Image:
        file = result.as_numpy("sr_jpeg").ravel()[0]
        picture = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
        if picture is None or picture.shape != self._out_shape:
            raise self._connection.refusal("its JPEG answer is damaged or of another size")
        np.copyto(self._output, picture)
        return self._output


class SharedSlot(TritonSlot):
    """The server on this host reads and writes this slot's own part of a region; nothing travels."""

    def __init__(self, connection: Connection, deadline: float, region: regions.Region, start: int) -> None:
        super().__init__(connection, deadline)
        taken, _ = strides(connection)
        self.input = region.part(start, self._shape)
        self._output = region.part(start + taken, self._out_shape)
        tensor = connection.grpc.InferInput("frame", [1, *self._shape], "UINT8")
        tensor.set_shared_memory(region.name, self.input.nbytes, start)
        answer = connection.grpc.InferRequestedOutput("sr")
        answer.set_shared_memory(region.name, self._output.nbytes, start + taken)
        self._tensors = [tensor], [answer]

    def _send(self) -> tuple[list[Any], list[Any]]:
        return self._tensors

    def _receive(self, result: Any) -> Image:
        return self._output


class CudaSlot(TritonSlot):
    """The server on this host reads and writes memory of its GPU, to and from which this slot copies.

    A Jetson's Triton has no CUDA shared memory; there SharedSlot is as good, as CPU and GPU share their memory anyway.
    """

    def __init__(self, connection: Connection, deadline: float, cuda: Any, device: int = 0) -> None:
        super().__init__(connection, deadline)
        self._cuda, client = cuda, connection.client
        tensor = connection.grpc.InferInput("frame", [1, *self._shape], "UINT8")
        answer = connection.grpc.InferRequestedOutput("sr")
        self._handles = []
        for port, size in ((tensor, self.input.nbytes), (answer, self._output.nbytes)):
            name = regions.new_name()
            connection.also_on_close(partial(regions.forget, name))
            handle = cuda.create_shared_memory_region(name, size, device)
            connection.also_on_close(partial(cuda.destroy_shared_memory_region, handle))
            connection.ask(client.register_cuda_shared_memory, name, cuda.get_raw_handle(handle), device, size)
            connection.also_on_close(partial(connection.ask, client.unregister_cuda_shared_memory, name, timeout=1.0))
            port.set_shared_memory(name, size)
            self._handles.append(handle)
        self._tensors = [tensor], [answer]

    def _send(self) -> tuple[list[Any], list[Any]]:
        self._cuda.set_shared_memory_region(self._handles[0], [self.input])
        return self._tensors

    def _receive(self, result: Any) -> Image:
        np.copyto(self._output, self._cuda.get_contents_as_numpy(self._handles[1], np.uint8, self._out_shape))
        return self._output


def strides(connection: Connection) -> tuple[int, int]:
    """Bytes that an input and an output take in a region: whole pages."""
    sizes = (width * height * 3 for width, height in (connection.input, connection.output))
    taken, given = (-(-size // PAGE) * PAGE for size in sizes)
    return taken, given


def clean(connection: Connection) -> None:
    """Make the server forget regions of processes that have died, and of this one's connections that broke."""
    client = connection.client
    for status, forget in (
        (client.get_system_shared_memory_status, client.unregister_system_shared_memory),
        (client.get_cuda_shared_memory_status, client.unregister_cuda_shared_memory),
    ):
        with contextlib.suppress(EngineError):
            for name in filter(regions.abandoned, connection.ask(status).regions):
                with contextlib.suppress(EngineError):  # an older request may still be writing to it
                    connection.ask(forget, name)
                    log.info("%s has forgotten %s, left by a program that died", connection.server, name)
    regions.clean()


def shared_slots(connection: Connection, depth: int, deadline: float) -> list[TritonSlot]:
    """Slots in one region that the server maps. Raises EngineError, OSError."""
    clean(connection)
    stride = sum(strides(connection))
    region = regions.Region(stride * depth)
    connection.also_on_close(region.forget)
    client = connection.client
    connection.ask(client.register_system_shared_memory, region.name, region.key, region.size)
    connection.also_on_close(partial(connection.ask, client.unregister_system_shared_memory, region.name, timeout=1.0))
    region.hide()
    return [SharedSlot(connection, deadline, region, stride * index) for index in range(depth)]


def cuda_slots(connection: Connection, depth: int, deadline: float) -> list[TritonSlot]:
    """Slots in GPU memory. Raises EngineError."""
    try:
        from tritonclient.utils import cuda_shared_memory as cuda

        clean(connection)
        return [CudaSlot(connection, deadline, cuda) for _ in range(depth)]
    except EngineError:
        raise
    except Exception as error:  # no driver, no package, no discrete GPU: each has an exception of its own
        raise EngineError(
            f"There is no CUDA shared memory with {connection.server}",
            " ".join(str(error).split())[:200] or type(error).__name__,
            "It needs a discrete NVIDIA GPU and pip install cuda-python; --transport shm needs neither.",
        ) from None


def make_slots(connection: Connection, depth: int, deadline: float) -> tuple[list[TritonSlot], str]:
    """Slots that carry pictures as asked for, and the name of the way. Raises EngineError."""
    wanted, here = connection.options.transport, is_here(connection.server)
    if wanted in ("shm", "cuda") and not here:
        raise EngineError(
            f"There is no shared memory with {connection.server}",
            "it is another machine",
            "Use --transport raw, jpeg or auto.",
        )
    if wanted == "cuda":
        return cuda_slots(connection, depth, deadline), "CUDA shared memory"
    if wanted == "shm" or (wanted == "auto" and here and regions.available()):
        try:
            return list(shared_slots(connection, depth, deadline)), "shared memory"
        except (EngineError, OSError) as error:
            facts = error.facts if isinstance(error, EngineError) else str(error)
            if wanted == "shm":
                fix = "A container needs --ipc=host and the same user; --transport raw needs neither."
                raise EngineError(f"There is no shared memory with {connection.server}", facts, fix) from None
            log.info("%s: going on without shared memory: %s", connection.server, facts)
    jpeg = connection.model + JpegSlot.model_suffix
    if wanted == "jpeg" or (wanted == "auto" and not here and connection.serves(jpeg)):
        if not connection.serves(jpeg):
            raise EngineError(
                f"There is no model {jpeg} on {connection.server}",
                "it is what decodes and encodes JPEG there",
                "scripts/triton_repository.py writes it; --transport raw does without.",
            )
        return [JpegSlot(connection, deadline) for _ in range(depth)], "JPEG"
    return [TritonSlot(connection, deadline) for _ in range(depth)], "raw"


def connect(
    server: str, address: Address, size: tuple[int, int], *, depth: int, options: Options, deadline: float
) -> Slots[Any]:
    """An engine over one server of `address`, for inputs of `size` (width, height). Raises EngineError."""
    if why := unavailable():
        raise EngineError("The engine triton cannot be used", why, "Install it, or use --engine auto.")
    connection = Connection(server, address, size, options)
    try:
        slots, way = make_slots(connection, depth, deadline)
        blank = np.zeros((size[1], size[0], 3), np.uint8)
        for slot in slots:  # so that what does not work is told now, and the first frame finds all buffers in place
            slot.launch(blank)
            slot.wait(deadline)
    except BaseException as error:
        connection.close()
        if isinstance(error, TimeoutError):
            facts = f"a blank frame took more than {deadline:g} s"
            raise EngineError(f"The Triton server {server} is too slow", facts, "Look at its load.") from None
        raise
    precision = re.search(r"-(fp16|int8)$", address.model)
    spec = Spec(
        name="triton",
        device=f"{server}, {way}",
        model=address.model,
        precision=precision[1] if precision else "fp32",
        scale=connection.scale,
        input=size,
        output=connection.output,
    )
    return Slots(spec, slots, deadline=deadline, close=connection.close)


def load(text: str, size: tuple[int, int], *, depth: int, options: Options, patience: float | None) -> Slots[Any]:
    """An engine at triton://HOST:PORT[,...]/MODEL. Raises EngineError.

    `patience`: seconds after which nobody waits for a frame any more; None: somebody always does.
    """
    address = parse(text)
    # The server drops what it has not begun by then; with frames queueing behind one another that is not yet late.
    deadline = 4 * patience if patience else 30.0

    def one(server: str) -> Slots[Any]:
        return connect(server, address, size, depth=depth, options=options, deadline=deadline)

    if len(address.servers) == 1:
        return one(address.servers[0])
    from engines.balance import balanced

    members = {server: lambda server=server: one(server) for server in address.servers}
    return balanced(members, depth, late=patience / 2 if patience else deadline / 4)
