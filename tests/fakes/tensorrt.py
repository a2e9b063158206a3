"""A stand-in for TensorRT on the lazy CUDA of tests.fakes.cuda. What it computes is the real network, by OpenVINO.

A "plan" says which .onnx file and which size it is for. An inference has two halves, one that reads its input and one
that writes its output, with only the scratch memory between them.
"""

from __future__ import annotations

import enum
import functools
import importlib.machinery
import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from engines.openvino import engine as openvino_engine
from tests.fakes.cuda import Bytes, Machine, Operation


class Severity(enum.IntEnum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class Mode(enum.IntEnum):
    NONE, INPUT, OUTPUT = range(3)


class Base:
    """What applications derive from."""

    Severity = Severity

    def __init__(self) -> None: ...


@functools.cache
def compiled(path: str, size: tuple[int, int]) -> tuple[Callable[..., Bytes], int]:
    """The network of a file as a function of the bytes of a frame and of the strength, if it takes one, that remembers
    its answers; and its scale."""
    model = openvino_engine.read(Path(path))
    scale = openvino_engine.fit(model, Path(path), size)
    request = (
        openvino_engine.core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    )
    lock = threading.Lock()

    @functools.lru_cache(maxsize=4096)
    def run(content: bytes, *strength: bytes) -> Bytes:
        with lock:
            frame = np.frombuffer(content, np.uint8).reshape(1, size[1], size[0], 3)
            factors = [np.frombuffer(value, np.float32) for value in strength]
            return np.array(request.infer([frame, *factors])[0]).reshape(-1)

    return run, scale


@functools.cache
def inputs_of(path: str) -> tuple[str, ...]:
    """The names of a file's inputs; the engine reads them of the network that the parser makes."""
    return tuple(port.any_name for port in openvino_engine.read(Path(path)).inputs)


class Dims(tuple):  # type: ignore[type-arg]
    pass


class Tensor:
    """A network's input or output; the output's shape follows the input's."""

    dtype, name = "uint8", "frame"

    def __init__(self, source: Tensor | None = None) -> None:
        self._source, self._shape = source, Dims((1, -1, -1, 3))

    @property
    def shape(self) -> Dims:
        if self._source is None or self._source.shape[1] < 0:
            return self._shape
        _, height, width, _ = self._source.shape
        return Dims((1, 2 * height, 2 * width, 3))

    @shape.setter
    def shape(self, shape: Dims) -> None:
        self._shape = shape


class Factor:
    """The input `strength`."""

    dtype, name, shape = "float", "strength", Dims((1,))


class Network:
    """A parsed file: a picture, perhaps a strength, and one output twice as large."""

    num_outputs = 1
    num_layers = 0

    def __init__(self) -> None:
        self.path = ""
        self.frame = Tensor()
        self.sr = Tensor(self.frame)

    @property
    def num_inputs(self) -> int:
        return len(inputs_of(self.path))

    def get_input(self, index: int) -> Tensor | Factor:
        return Factor() if index else self.frame

    def get_output(self, index: int) -> Tensor:
        return self.sr

    def get_layer(self, index: int) -> Any:
        raise IndexError(index)


class Config:
    """Takes any setting; phases are told to its monitor."""

    progress_monitor: Any = None

    def __getattr__(self, name: str) -> Any:
        if name == "create_timing_cache":
            return lambda content: bytearray(content)
        if name == "get_timing_cache":
            return lambda: type("Cache", (), {"serialize": lambda self: b"timed"})()
        if name in ("set_memory_pool_limit", "set_flag", "set_timing_cache", "set_compute_capability"):
            return lambda *_, **__: True
        raise AttributeError(name)


class ExecutionContext:
    """Two halves an inference, and a complaint if it goes before they have."""

    def __init__(self, machine: Machine, path: str, size: tuple[int, int]) -> None:
        machine.need_context("create_execution_context")
        self._machine, self._addresses = machine, dict[str, int]()
        self._run, _ = compiled(path, size)
        self._inputs = inputs_of(path)
        self._scratch = 0
        self.profiler: Any = None

    def set_device_memory(self, memory: int, size: int) -> None:
        self._scratch = memory

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        machine = self._machine
        machine.need_context("execute_async_v3")
        stream = next(one for one in machine.streams if one.handle == stream_handle)
        machine.inferences += 1
        unable = stream.recording is not None and not machine.capturable
        if machine.broken or unable or machine.inferences == machine.refuse:
            return False
        frame, sr = (machine.memories[self._addresses[name]] for name in ("frame", "sr"))
        scratch, run = machine.memories[self._scratch], self._run
        factors = tuple(machine.memories[self._addresses[name]] for name in self._inputs[1:])
        size = frame.data.size

        def first() -> None:
            scratch.data[:size] = frame.data

        def second() -> None:
            sr.data[:] = run(scratch.data[:size].tobytes(), *(factor.data.tobytes() for factor in factors))

        stream.put(Operation("an inference", first, (frame,), (scratch,), self))
        # Its own halves are armed when they are queued: mapped memory must not change from launch to end.
        stream.put(Operation("an inference", second, (scratch, frame, *factors), (sr,), self))
        if self.profiler:
            self.profiler.report_layer_time("convolution", 1.0)
        return True

    def __del__(self) -> None:
        if not self._machine.broken and any(
            one.owner is self for stream in self._machine.streams for one in stream.queue
        ):
            self._machine.faults.append("an execution context was deleted while it was running")


class Engine:
    @property
    def num_io_tensors(self) -> int:
        return 1 + len(inputs_of(self._path))

    def __init__(self, machine: Machine, path: str, size: tuple[int, int]) -> None:
        self._machine, self._path, self._size = machine, path, size
        machine.engines += 1

    def __del__(self) -> None:
        self._machine.engines -= 1

    @property
    def device_memory_size_v2(self) -> int:
        return 3 * self._size[0] * self._size[1]

    def get_tensor_name(self, index: int) -> str:
        return ("sr", *inputs_of(self._path))[index]

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.OUTPUT if name == "sr" else Mode.INPUT

    def get_tensor_shape(self, name: str) -> Dims:
        width, height = self._size
        scale = 1 if name == "frame" else compiled(self._path, self._size)[1]
        return Dims((1, scale * height, scale * width, 3))

    def create_execution_context(self, strategy: int) -> ExecutionContext:
        return ExecutionContext(self._machine, self._path, self._size)


class TensorRt(ModuleType):
    """The module tensorrt, as far as the engine uses it."""

    __version__ = "10.3.0"
    ILogger = IProgressMonitor = IProfiler = Base
    NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", ["STRONGLY_TYPED"])
    OnnxParserFlag = enum.IntEnum("OnnxParserFlag", ["NATIVE_INSTANCENORM"])
    BuilderFlag = enum.IntEnum("BuilderFlag", ["FP16", "GPU_FALLBACK"])
    MemoryPoolType = enum.IntEnum("MemoryPoolType", ["WORKSPACE"])
    ProfilingVerbosity = enum.IntEnum("ProfilingVerbosity", ["DETAILED"])
    DeviceType = enum.IntEnum("DeviceType", ["GPU", "DLA"])
    LayerType = enum.IntEnum("LayerType", ["QUANTIZE"])
    ExecutionContextAllocationStrategy = enum.IntEnum("ExecutionContextAllocationStrategy", ["USER_MANAGED"])
    TensorIOMode = Mode
    uint8, float16, float32 = "uint8", "half", "float"
    Dims = Dims

    def __init__(self, machine: Machine) -> None:
        super().__init__("tensorrt")
        self.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
        self.cores = 2
        self.parser_flags: list[int] = []
        self.during_build: Callable[[], None] = lambda: None
        outer = self

        class Builder:
            def __init__(self, logger: Any) -> None:
                self.num_DLA_cores = outer.cores

            def create_network(self, flags: int = 0) -> Network:
                return Network()

            def create_builder_config(self) -> Config:
                return Config()

            def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
                machine.builds += 1
                monitor = config.progress_monitor
                monitor.phase_start("Building engine", None, 2)
                outer.during_build()
                for step in range(2):
                    if not monitor.step_complete("Building engine", step):
                        return None
                monitor.phase_finish("Building engine")
                _, height, width, _ = network.frame.shape
                return b"lazy" + json.dumps([network.path, [width, height]]).encode()

        class OnnxParser:
            num_errors = 0

            def __init__(self, network: Network, logger: Any) -> None:
                self._network = network

            def set_flag(self, flag: int) -> None:
                outer.parser_flags.append(flag)

            def parse_from_file(self, path: str) -> bool:
                self._network.path = path
                return Path(path).read_bytes()[:2] == b"\x08\x08"  # ir_version, field 1 of a ModelProto

        class Runtime:
            DLA_core = -1

            def __init__(self, logger: Any) -> None:
                machine.need_context("Runtime")
                self._logger = logger

            def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
                machine.need_context("deserialize_cuda_engine")
                if not plan.startswith(b"lazy"):
                    self._logger.log(Severity.ERROR, "the magic tag does not match")
                    return None
                path, (width, height) = json.loads(plan[4:])
                return Engine(machine, path, (width, height))

        self.Builder, self.OnnxParser, self.Runtime = Builder, OnnxParser, Runtime
