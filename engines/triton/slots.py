"""Slots at a Triton server: one frame each, by shared memory, raw, or as a JPEG file."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from functools import partial
from typing import Any

import cv2
import numpy as np

from engines.base import Image, Strength
from engines.errors import EngineError, one_line
from engines.support.pages import whole_pages
from engines.triton import shared_memory
from engines.triton.client import TritonClient

log = logging.getLogger(__name__)


class Call:
    """One request on its way. Late answers to a request that nobody waits for any more end here."""

    def __init__(self) -> None:
        """Begin without an answer. gRPC's thread writes everything, and sets `done` last."""
        self.done = threading.Event()
        self.result: Any = None
        self.error: Any = None
        self.finished = 0.0

    def finish(self, result: Any, error: Any) -> None:
        """Keep the answer. Called by gRPC's thread."""
        self.result, self.error, self.finished = result, error, time.monotonic()
        self.done.set()


class TritonSlot:
    """One frame at one server. What differs between the ways to carry pictures is left to _send() and _receive()."""

    model_suffix = ""

    def __init__(self, connection: TritonClient, hang_timeout: float, strength: Strength) -> None:
        """`hang_timeout`: seconds after which the server and the client drop the request."""
        self._connection, self._hang_timeout, self._strength = connection, hang_timeout, strength
        self._strength_rank = self._find_strength_rank()
        (width, height), (out_width, out_height) = connection.input, connection.output
        self._shape, self._out_shape = (height, width, 3), (out_height, out_width, 3)
        self.input: Image = np.empty(self._shape, np.uint8)
        self._output: Image = np.empty(self._out_shape, np.uint8)
        self._call, self._context = Call(), None
        self.finished = 0.0

    def launch(self, image: Image) -> None:
        """Copy `image`, uint8 [H, W, 3], and send it. Raises EngineError."""
        np.copyto(self.input, image)
        self._call = call = Call()
        connection = self._connection
        inputs, outputs = self._send()
        strength = connection.strength_tensors(self._strength_rank, self._strength.value)
        try:
            self._context = connection.client.async_infer(
                connection.model + self.model_suffix,
                [*inputs, *strength],
                call.finish,
                model_version=connection.version,
                outputs=outputs,
                timeout=int(self._hang_timeout * 1e6),  # the server drops it rather than computing it for nobody
                client_timeout=self._hang_timeout,
                headers=connection.headers,
            )
        except connection.grpc._utils.InferenceServerException as error:
            raise connection.error(error) from None

    def wait(self, timeout: float) -> Image:
        """Return the server's picture. Raises TimeoutError, EngineError."""
        call = self._call
        if not call.done.wait(timeout):
            raise TimeoutError
        if call.error is not None:
            raise self._connection.error(call.error)
        self.finished = call.finished
        try:
            return self._receive(call.result)
        except EngineError:
            raise
        except Exception as error:  # NumPy's, OpenCV's, the client's own: what came makes no sense
            raise self._connection.refusal(f"its answer cannot be read: {one_line(error)[:200]}") from None

    @property
    def takes_strength(self) -> bool:
        """Whether the strength goes along with each frame."""
        return self._strength_rank > 0

    def _find_strength_rank(self) -> int:
        return self._connection.strength_rank

    def _check(self, result: Any) -> None:
        """Check that the server has written what this slot's memory is for: a model may be exchanged under its name."""
        output = result.get_output("sr")
        if output is None or output.datatype != "UINT8" or tuple(output.shape) != (1, *self._out_shape):
            raise self._connection.refusal(f"it returned {None if output is None else list(output.shape)}")

    def _send(self) -> tuple[list[Any], list[Any]]:
        """Input and output tensors of a request for what is in `input`."""
        tensor = self._connection.grpc.InferInput("frame", [1, *self._shape], "UINT8")
        tensor.set_data_from_numpy(self.input[None])
        return [tensor], [self._connection.grpc.InferRequestedOutput("sr")]

    def _receive(self, result: Any) -> Image:
        """The picture in an answer."""
        picture = result.as_numpy("sr")
        if picture is None or picture.shape != (1, *self._out_shape):
            raise self._connection.refusal(f"it returned {None if picture is None else picture.shape}")
        np.copyto(self._output, picture[0])  # gRPC's memory is read-only; sinks draw into what they borrow
        return self._output

    def close(self) -> None:
        """Cancel a request that is still on its way."""
        if not self._call.done.is_set() and self._context is not None:
            self._context.cancel()


class JpegSlot(TritonSlot):
    """JPEG there and back: 720p answers at 30 a second are 660 Mbit/s raw and some 40 as JPEG."""

    model_suffix = "-jpeg"

    def _find_strength_rank(self) -> int:
        return self._connection.strength_rank_of(self._connection.model + self.model_suffix)

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

    def __init__(
        self,
        connection: TritonClient,
        hang_timeout: float,
        strength: Strength,
        region: shared_memory.Region,
        start: int,
    ) -> None:
        super().__init__(connection, hang_timeout, strength)
        taken, _ = frame_bytes(connection)
        self.input = region.view(start, self._shape)
        self._output = region.view(start + taken, self._out_shape)
        tensor = connection.grpc.InferInput("frame", [1, *self._shape], "UINT8")
        tensor.set_shared_memory(region.name, self.input.nbytes, start)
        answer = connection.grpc.InferRequestedOutput("sr")
        answer.set_shared_memory(region.name, self._output.nbytes, start + taken)
        self._tensors = [tensor], [answer]

    def _send(self) -> tuple[list[Any], list[Any]]:
        return self._tensors

    def _receive(self, result: Any) -> Image:
        self._check(result)
        return self._output


class CudaSharedMemorySlot(TritonSlot):
    """The server on this host reads and writes memory of its GPU, to and from which this slot copies.

    A Jetson's Triton has no CUDA shared memory; there SharedSlot is as good, as CPU and GPU share their memory anyway.
    """

    def __init__(
        self, connection: TritonClient, hang_timeout: float, strength: Strength, cuda: Any, device: int = 0
    ) -> None:
        super().__init__(connection, hang_timeout, strength)
        self._cuda, client = cuda, connection.client
        tensor = connection.grpc.InferInput("frame", [1, *self._shape], "UINT8")
        answer = connection.grpc.InferRequestedOutput("sr")
        self._handles = []
        for port, size in ((tensor, self.input.nbytes), (answer, self._output.nbytes)):
            name = shared_memory.REGION_NAMES.new()
            connection.also_on_close(partial(shared_memory.REGION_NAMES.release, name))
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
        self._check(result)
        np.copyto(self._output, self._cuda.get_contents_as_numpy(self._handles[1], np.uint8, self._out_shape))
        return self._output


def frame_bytes(connection: TritonClient) -> tuple[int, int]:
    """Return the bytes that an input and an output take in a region: whole pages."""
    sizes = (width * height * 3 for width, height in (connection.input, connection.output))
    taken, given = map(whole_pages, sizes)
    return taken, given


def clean(connection: TritonClient) -> None:
    """Make the server forget regions of processes that have died, and of this one's connections that broke."""
    client = connection.client
    for status, unregister in (
        (client.get_system_shared_memory_status, client.unregister_system_shared_memory),
        (client.get_cuda_shared_memory_status, client.unregister_cuda_shared_memory),
    ):
        with contextlib.suppress(EngineError):
            for name in filter(shared_memory.REGION_NAMES.is_abandoned, connection.ask(status).regions):
                with contextlib.suppress(EngineError):  # an older request may still be writing to it
                    connection.ask(unregister, name)
                    log.info("%s has forgotten %s, left by a program that died", connection.server, name)
    shared_memory.remove_abandoned_files()


def shared_slots(connection: TritonClient, depth: int, hang_timeout: float, strength: Strength) -> list[TritonSlot]:
    """Return slots in one region that the server maps. Raises EngineError, OSError."""
    clean(connection)
    stride = sum(frame_bytes(connection))
    region, client = shared_memory.Region(stride * depth), connection.client
    try:
        connection.ask(client.register_system_shared_memory, region.name, region.key, region.size)
    except BaseException:
        region.release()
        raise
    connection.also_on_close(region.release)
    connection.also_on_close(partial(connection.ask, client.unregister_system_shared_memory, region.name, timeout=1.0))
    region.hide()
    return [SharedSlot(connection, hang_timeout, strength, region, stride * index) for index in range(depth)]


def cuda_slots(connection: TritonClient, depth: int, hang_timeout: float, strength: Strength) -> list[TritonSlot]:
    """Return slots in GPU memory. Raises EngineError."""
    try:
        from tritonclient.utils import cuda_shared_memory as cuda

        clean(connection)
        return [CudaSharedMemorySlot(connection, hang_timeout, strength, cuda) for _ in range(depth)]
    except EngineError:
        raise
    except Exception as error:  # no driver, no package, no discrete GPU: each has an exception of its own
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error  # why, not only what
        raise EngineError(
            f"There is no CUDA shared memory with {connection.server}",
            one_line(cause)[:200] or type(cause).__name__,
            "It needs a discrete NVIDIA GPU and pip install 'tritonclient[grpc,cuda]>=2.73', before driver 580 with "
            "'cuda-python<13'; --transport shm needs neither.",
        ) from None


def make_slots(
    connection: TritonClient, depth: int, hang_timeout: float, strength: Strength | None = None
) -> tuple[list[TritonSlot], str]:
    """Return slots that carry pictures as `connection.options` say, and the name of the way. Raises EngineError."""
    strength = strength or Strength()
    wanted, is_here, apart = connection.options.transport, connection.is_here, connection.apart
    if wanted in ("shm", "cuda") and apart:
        raise EngineError(
            f"There is no shared memory with {connection.server}",
            apart,
            "Use --transport raw, jpeg or auto.",
        )
    if wanted == "cuda":
        return cuda_slots(connection, depth, hang_timeout, strength), "CUDA shared memory"
    if wanted == "shm" or (wanted == "auto" and not apart and shared_memory.is_available()):
        try:
            return list(shared_slots(connection, depth, hang_timeout, strength)), "shared memory"
        except (EngineError, OSError) as error:
            facts = error.facts if isinstance(error, EngineError) else str(error)
            if wanted == "shm":
                fix = "A container needs --ipc=host and the same user; --transport raw needs neither."
                raise EngineError(f"There is no shared memory with {connection.server}", facts, fix) from None
            log.info("%s: continuing without shared memory: %s", connection.server, facts)
    jpeg = connection.model + JpegSlot.model_suffix
    if wanted == "jpeg" or (wanted == "auto" and not is_here and connection.serves(jpeg)):
        if not connection.serves(jpeg):
            raise EngineError(
                f"There is no model {jpeg} on {connection.server}",
                "it is what decodes and encodes JPEG there",
                "scripts/triton_repository.py writes it; --transport raw does not need it.",
            )
        return [JpegSlot(connection, hang_timeout, strength) for _ in range(depth)], "JPEG"
    return [TritonSlot(connection, hang_timeout, strength) for _ in range(depth)], "raw"
