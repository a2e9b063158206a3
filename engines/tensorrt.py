"""TensorRT on an NVIDIA GPU: plans are built and run. Networks are strongly typed: the precision is the file's."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from engines import catalog, libcuda, sdk
from engines.base import EngineError, Spec
from engines.contract import refused, scale_between, unfit
from engines.cuda import Buffer, Device
from engines.cuda_slot import CudaSlot
from engines.plans import Key, Plan, Plans, digest, stopped
from engines.progress import Progress
from engines.sdk import device, gpu_name, last_error, logger, portable, sdk_name, trt
from engines.slots import Slots

log = logging.getLogger(__name__)

PRECISIONS = ("fp16", "fp32", "int8")
"""Which file of a model to take where its name leaves it open: tensor cores want fp16, and int8 costs quality.

fp32 is computed in TF32, TensorRT's default as it is PyTorch's, on the GPUs that can.
"""

WARM_UP = 60.0
"""Seconds that a slot's first inference may take; TensorRT-RTX compiles its kernels then."""
SHARE, LEAST, MOST = 0.5, 64 << 20, 2 << 30
"""The builder's workspace: this share of the memory that is free, and its limits in bytes."""
PROFILED = 100
"""Inferences that a layer profile is averaged over."""


def monitor(progress: Progress) -> trt.IProgressMonitor:
    """TensorRT's phases, told to `progress`, which may end the build."""

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}
            self._lock = threading.Lock()  # the builder calls from threads of its own

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            with self._lock:
                self._steps[phase_name] = num_steps
            progress.stage(phase_name)

        def step_complete(self, phase_name: str, step: int) -> bool:
            steps = self._steps.get(phase_name, 0)
            progress.stage(f"{phase_name} {step + 1}/{steps}" if steps > 1 else phase_name)
            return not progress.cancelled

        def phase_finish(self, phase_name: str) -> None:
            with self._lock:
                self._steps.pop(phase_name, None)

    return Monitor()


def dimensions(shape: trt.Dims) -> tuple[int, ...]:
    """TensorRT's own kind of tuple as a plain one."""
    return tuple(shape[axis] for axis in range(len(shape)))


def parse(
    builder: trt.Builder, path: Path, size: tuple[int, int], *, typed: bool, dla: bool = False
) -> trt.INetworkDefinition:
    """The network of an .onnx file for inputs of `size`. Raises EngineError, ModelError if it breaks the contract."""
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # from some version on they all are
    network = builder.create_network(1 << int(flag) if typed and flag is not None else 0)
    parser = trt.OnnxParser(network, logger())
    if dla and (adjust := getattr(trt.OnnxParserFlag, "ADJUST_FOR_DLA", None)) is not None:
        parser.set_flag(adjust)  # layers in the forms that a DLA can take, from 10.16 on
    if not parser.parse_from_file(str(path)):
        said = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors)) or last_error()
        raise EngineError(f"TensorRT cannot read {path}", said, "Try --engine openvino, or export the model anew.")
    for kind, count in (("input", network.num_inputs), ("output", network.num_outputs)):
        if count != 1:
            raise refused(path, f"it has {count} {kind}s")
    frame, sr = network.get_input(0), network.get_output(0)
    width, height = size
    wanted = (1, height, width, 3)
    for kind, tensor in (("input", frame), ("output", sr)):
        shape = dimensions(tensor.shape)
        if tensor.dtype != trt.uint8 or len(shape) != 4:
            raise refused(path, f"its {kind} is {tensor.dtype} {shape}")
    given = dimensions(frame.shape)
    if any(has not in (-1, want) for has, want in zip(given, wanted, strict=True)):
        raise unfit(path, [None if n == -1 else n for n in given], size)
    frame.shape = trt.Dims(list(wanted))
    result = dimensions(sr.shape)
    if len(result) != 4 or result[0] != 1 or result[3] != 3:
        raise refused(path, f"its output is {result}")
    scale_between(path, size, (result[2], result[1]))
    return network


def precision_of(network: trt.INetworkDefinition) -> str:
    """What the arithmetic is done in, read off the network."""
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    if any(layer.type == trt.LayerType.QUANTIZE for layer in layers):
        return "int8"
    return "fp16" if any(layer.get_output(0).dtype == trt.float16 for layer in layers) else "fp32"


def build(
    path: Path,
    size: tuple[int, int],
    progress: Progress,
    *,
    dla: int | None = None,
    capabilities: Sequence[str] = (),
    workspace: int | None = None,
    plans: Plans | None = None,
    timing: str = "",
) -> Plan:
    """A plan of an .onnx file for inputs of `size`. Raises EngineError, ModelError.

    `capabilities`: compute capabilities such as "8.6" to build for ahead of time, which TensorRT-RTX can without a
    GPU; `workspace` in bytes; `timing` names the timing cache in `plans`.
    """
    builder = trt.Builder(logger())
    # Before strong typing DLA was told its precision by a flag, which is gone where networks are always typed.
    half = getattr(trt.BuilderFlag, "FP16", None) if dla is not None else None
    network = parse(builder, path, size, typed=half is None, dla=dla is not None)
    config = builder.create_builder_config()
    config.progress_monitor = monitor(progress)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # costs nothing, and gives the layers their names
    if workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    if (own := getattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION", None)) is not None:
        config.set_flag(own)  # TensorRT-RTX records no graph without
    if half is not None:
        config.set_flag(half)
    if dla is not None:
        use_dla(builder, config, dla)
    if capabilities:
        target(config, capabilities)
    timed = plans if timing and not portable() else None  # TensorRT-RTX times nothing while it builds
    if timed:
        cache = config.create_timing_cache(timed.read(timing))
        if cache is not None:  # None: it was damaged, or of another version
            config.set_timing_cache(cache, ignore_mismatch=False)
    body = builder.build_serialized_network(network, config)
    if timed and (cache := config.get_timing_cache()) is not None:
        timed.write(timing, bytes(cache.serialize()))
    if progress.cancelled:
        raise stopped()
    if body is None:
        raise EngineError(
            f"TensorRT cannot build {path.stem} at {size[0]}x{size[1]}",
            last_error(),
            "If memory is short, close other programs or choose a smaller --size; else try --engine openvino.",
        )
    return Plan(bytes(body), precision_of(network))


def use_dla(builder: trt.Builder, config: trt.IBuilderConfig, core: int) -> None:
    """Put all layers that can run there on a DLA core, the others on the GPU. Raises EngineError."""
    cores = getattr(builder, "num_DLA_cores", 0)
    if core >= cores:
        raise EngineError(
            f"There is no DLA core {core}",
            f"TensorRT {trt.__version__} offers {cores} here: Orin NX and AGX Orin have two, Orin Nano and Thor none; "
            "TensorRT 10.3 to 10.7 uses them, and 11.4.1 those of AGX Orin",
            "Leave engine.dla out.",
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def target(config: Any, capabilities: Sequence[str]) -> None:
    """Build for GPUs that need not be here. Raises EngineError."""
    known = getattr(trt, "ComputeCapability", None)
    if known is None or not hasattr(config, "set_compute_capability"):
        raise EngineError(
            "Only TensorRT-RTX builds for another GPU",
            f"this is {trt.__name__} {trt.__version__}",
            "Build on the machine that is to run it, or pip install 'livesr[rtx]'.",
        )
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        member = getattr(known, "SM" + capability.replace(".", ""), None)
        if member is None:
            names = ", ".join(f"{n[2:-1]}.{n[-1]}" for n in known.__members__ if n.startswith("SM"))
            raise EngineError(
                f"TensorRT-RTX cannot build for {capability}", f"it can for {names}", "Give one of these."
            )
        config.set_compute_capability(member, index)


def key_for(path: Path, size: tuple[int, int], gpu: str, *, dla: int | None) -> Key:
    """What the plan of a model depends on."""
    return Key(
        model=path.stem,
        checksum=digest(path.read_bytes()),
        size=f"{size[0]}x{size[1]}",
        sdk=sdk_name(),
        gpu=gpu,
        options="" if dla is None else f"dla {dla}",
    )


def build_ahead(
    path: Path, size: tuple[int, int], capability: str, plans: Plans, progress: Progress
) -> tuple[Path, Plan]:
    """Build for GPUs of a compute capability that need not be here and keep the plan. Raises EngineError."""
    plan = build(path, size, progress, capabilities=[capability])
    return plans.put(key_for(path, size, gpu_name("", capability), dla=None), plan), plan


class Inference:
    """An execution context with its scratch memory, for one slot's buffers."""

    def __init__(
        self, gpu: Device, engine: trt.ICudaEngine, addresses: dict[str, int], profiler: trt.IProfiler | None
    ) -> None:
        """`addresses`: where input and output lie on the device; `profiler` is told the time of every layer.

        Raises EngineError, pycuda's errors.
        """
        context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise EngineError("TensorRT cannot prepare an inference", last_error(), "Try a smaller --size.")
        self._error = gpu.driver.Error
        # Ours and not TensorRT's, so that it is known when it is freed. 0 bytes cannot be allocated.
        size = max(256, engine.device_memory_size_v2)
        self._scratch = gpu.driver.mem_alloc(size)
        self._context: trt.IExecutionContext | None = context
        context.set_device_memory(int(self._scratch), size)
        self._names = tuple(addresses)
        self.bind(*addresses.values())
        if profiler is not None:
            context.profiler = profiler

    def enqueue(self, stream: int) -> None:
        assert self._context is not None  # closed slots are not launched
        if not self._context.execute_async_v3(stream):
            raise EngineError("TensorRT has refused a frame", last_error(), "Start again, or try --engine openvino.")

    def bind(self, source: int, result: int) -> None:
        assert self._context is not None
        for name, address in zip(self._names, (source, result), strict=True):
            self._context.set_tensor_address(name, address)

    def capturable(self, stream: int) -> bool:
        ask = getattr(self._context, "is_stream_capturable", None)  # TensorRT-RTX
        return ask is None or bool(ask(stream))

    def close(self) -> None:
        self._context = None
        with contextlib.suppress(self._error):
            self._scratch.free()


def log_layers(gpu: Device, engine: trt.ICudaEngine, *, mapped: bool) -> None:
    """The layer profile: the mean time of each layer, slowest first. The context is current.

    In a slot of its own, because a profiler cannot be taken from a context again, and slows it down.
    """

    class Profiler(trt.IProfiler):
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.spent: dict[str, float] = {}

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.spent[layer_name] = self.spent.get(layer_name, 0.0) + ms

    profiler = Profiler()
    slot = make_slot(gpu, engine, mapped=mapped, profiler=profiler)
    profiler.spent.clear()  # the first inference warms up
    try:
        blank = np.zeros_like(slot.input)
        for _ in range(PROFILED):
            slot.launch(blank)
            slot.wait(WARM_UP)
    finally:
        slot.close()
    whole = sum(profiler.spent.values()) or 1.0
    log.info("layers, mean of %d inferences, %.3f ms in all:", PROFILED, whole / PROFILED)
    for name, ms in sorted(profiler.spent.items(), key=lambda item: -item[1]):
        log.info("%8.3f ms %5.1f %%  %s", ms / PROFILED, 100 * ms / whole, name)


def tensors(engine: trt.ICudaEngine) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of the input and of the output."""
    found: dict[trt.TensorIOMode, tuple[str, tuple[int, ...]]] = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        found[engine.get_tensor_mode(name)] = name, dimensions(engine.get_tensor_shape(name))
    return [found[trt.TensorIOMode.INPUT], found[trt.TensorIOMode.OUTPUT]]


def make_slot(gpu: Device, engine: trt.ICudaEngine, *, mapped: bool, profiler: trt.IProfiler | None = None) -> CudaSlot:
    """A slot that has run once. The context is current. Raises EngineError, pycuda's errors, holding nothing."""
    with ExitStack() as undo:
        names, shapes = zip(*tensors(engine), strict=True)

        def buffer(shape: tuple[int, ...]) -> Buffer:
            made = Buffer(gpu, shape, mapped=mapped)
            undo.callback(made.free, gpu.driver.Error)
            return made

        source, result = buffer(shapes[0]), buffer(shapes[1])
        addresses = dict(zip(names, (source.address, result.address), strict=True))
        inference = Inference(gpu, engine, addresses, profiler)
        undo.callback(inference.close)
        slot = CudaSlot(gpu, source, result, inference, mapped=mapped)
        undo.pop_all()
        undo.callback(slot.close)
        slot.launch(np.zeros_like(slot.input))
        slot.wait(WARM_UP)
        undo.pop_all()
    return slot


def load(
    model: str,
    size: tuple[int, int],
    *,
    depth: int,
    memory: str = "auto",
    dla: int | None = None,
    profile: bool = False,
    progress: Progress | None = None,
    scale: int | None = None,
) -> Slots[Any]:
    """A TensorRT engine for inputs of `size` (width, height); engines.load() documents the rest. Raises EngineError."""
    gpu = device()
    sdk.module()  # one that does not start is told of before a model that is not there
    path = catalog.find(model, PRECISIONS, scale)
    mapped = gpu.integrated and gpu.maps if memory == "auto" else memory == "mapped"
    progress, plans = progress or Progress(), Plans()
    key = key_for(path, size, gpu_name(gpu.name, gpu.capability), dla=dla)
    timing = f"timing-{digest((key.sdk + key.gpu).encode())[:12]}.cache"

    def built() -> Plan:
        workspace = int(min(MOST, max(LEAST, gpu.free() * SHARE)))
        # Told which GPU it is for, TensorRT-RTX takes the oldest it knows too, and says so of one that it does not.
        here = [gpu.capability] if portable() else []
        return build(path, size, progress, dla=dla, capabilities=here, workspace=workspace, plans=plans, timing=timing)

    try:
        with gpu, ExitStack() as undo:
            runtime = trt.Runtime(logger())
            if dla is not None:
                runtime.DLA_core = dla
            engine, plan = plans.get(key, built, runtime.deserialize_cuda_engine, progress)
            if profile:
                log_layers(gpu, engine, mapped=mapped)
            slots = []
            for _ in range(depth):
                slot = make_slot(gpu, engine, mapped=mapped)
                undo.callback(slot.close)
                slots.append(slot)
            all(slot.record_graph() for slot in slots)  # what the first cannot, the others need not try
            (_, taken), (_, given) = tensors(engine)
            scale = scale_between(path, (taken[2], taken[1]), (given[2], given[1]))
            undo.pop_all()
    except (gpu.driver.Error, libcuda.CudaError) as error:
        raise gpu.failure(
            f"TensorRT cannot be set up for {size[0]}x{size[1]}, {depth} frames in flight", error
        ) from error
    where = "" if dla is None else f" with DLA {dla}"  # what it cannot do the GPU does, and TensorRT does not say what
    spec = Spec(
        name="tensorrt",
        device=f"{gpu.name}{where}, {'mapped' if mapped else 'copied'} memory",
        model=path.stem,
        precision=plan.precision,
        scale=scale,
        input=size,
        output=(size[0] * scale, size[1] * scale),
    )
    # The execution contexts keep the engine alive, so closing the slots frees all there is.
    return Slots(spec, slots)
