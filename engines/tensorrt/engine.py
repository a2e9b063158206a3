"""TensorRT on an NVIDIA GPU: slots that run a plan.

engines.tensorrt.builder makes the plan and engines.tensorrt.plan_cache keeps it.
"""

from __future__ import annotations

import contextlib
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from engines.base import Engine, Spec, Strength
from engines.catalog.contract import STRENGTH_INPUT, scale_between
from engines.catalog.resolved import resolve_file
from engines.cuda import driver
from engines.cuda.device import Buffer, CudaDevice
from engines.cuda.slot import CudaSlot
from engines.errors import EngineError
from engines.request import EngineRequest
from engines.slot_engine import WARM_UP_TIMEOUT_S, SlotEngine
from engines.support.progress import BuildProgress
from engines.tensorrt import sdk
from engines.tensorrt.builder import PREFERRED_PRECISIONS, build, dimensions, key_for
from engines.tensorrt.plan_cache import Plan, PlanCache, digest
from engines.tensorrt.sdk import device, gpu_name, last_error, logger, portable, trt

log = logging.getLogger(__name__)

WORKSPACE_SHARE, MIN_WORKSPACE_BYTES, MAX_WORKSPACE_BYTES = 0.5, 64 << 20, 2 << 30
"""The builder's workspace: this share of the memory that is free, and its limits in bytes."""
PROFILED_FRAMES = 100
"""Inferences that a layer profile is averaged over."""


class Inference:
    """An execution context with its scratch memory, for one slot's buffers."""

    def __init__(
        self, gpu: CudaDevice, engine: trt.ICudaEngine, addresses: dict[str, int], profiler: trt.IProfiler | None
    ) -> None:
        """Allocate the scratch memory. The context is current.

        `addresses`: where inputs and output lie on the device, by their names, the picture and its result first;
        `profiler` receives the time of every layer. Raises EngineError, pycuda's errors.
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
        for name, address in addresses.items():
            context.set_tensor_address(name, address)
        self._names = tuple(addresses)[:2]
        if profiler is not None:
            context.profiler = profiler

    def enqueue(self, stream: int) -> None:
        """Put an inference into a stream. Raises EngineError."""
        assert self._context is not None  # closed slots are not launched
        if not self._context.execute_async_v3(stream):
            raise EngineError("TensorRT has refused a frame", last_error(), "Start again, or try --engine openvino.")

    def bind(self, source: int, result: int) -> None:
        """Use these addresses of the device for input and output from now on."""
        assert self._context is not None
        for name, address in zip(self._names, (source, result), strict=True):
            self._context.set_tensor_address(name, address)

    def capturable(self, stream: int) -> bool:
        """Return whether TensorRT lets it be recorded into a graph."""
        ask = getattr(self._context, "is_stream_capturable", None)  # TensorRT-RTX
        return ask is None or bool(ask(stream))

    def close(self) -> None:
        """Free the context and its scratch memory."""
        self._context = None
        with contextlib.suppress(self._error):
            self._scratch.free()


def tensors(engine: trt.ICudaEngine) -> list[tuple[str, tuple[int, ...]]]:
    """Return name and shape of the picture's input and of the output."""
    found: dict[trt.TensorIOMode, tuple[str, tuple[int, ...]]] = {}
    for name in tensor_names(engine):
        if name != STRENGTH_INPUT:
            found[engine.get_tensor_mode(name)] = name, dimensions(engine.get_tensor_shape(name))
    return [found[trt.TensorIOMode.INPUT], found[trt.TensorIOMode.OUTPUT]]


def tensor_names(engine: trt.ICudaEngine) -> list[str]:
    """Return the names of all inputs and outputs."""
    return [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]


def make_slot(
    gpu: CudaDevice,
    engine: trt.ICudaEngine,
    *,
    mapped: bool,
    strength: Strength | None = None,
    profiler: trt.IProfiler | None = None,
) -> CudaSlot:
    """Return a slot that has run once. The context is current.

    Raises EngineError or pycuda's errors, and holds nothing then.
    """
    with ExitStack() as undo:
        names, shapes = zip(*tensors(engine), strict=True)

        def buffer(shape: tuple[int, ...]) -> Buffer:
            allocated = Buffer(gpu, shape, mapped=mapped)
            undo.callback(allocated.free, gpu.driver.Error)
            return allocated

        source, result = buffer(shapes[0]), buffer(shapes[1])
        addresses, factor = dict(zip(names, (source.address, result.address), strict=True)), None
        if STRENGTH_INPUT in tensor_names(engine):
            factor = buffer((np.dtype(np.float32).itemsize,))
            addresses[STRENGTH_INPUT] = factor.address
        inference = Inference(gpu, engine, addresses, profiler)
        undo.callback(inference.close)
        slot = CudaSlot(gpu, source, result, inference, mapped=mapped, factor=factor, strength=strength)
        undo.pop_all()
        undo.callback(slot.close)
        slot.launch(np.zeros_like(slot.input))
        slot.wait(WARM_UP_TIMEOUT_S)
        undo.pop_all()
    return slot


def make_slots(
    gpu: CudaDevice, engine: trt.ICudaEngine, depth: int, *, mapped: bool, strength: Strength | None = None
) -> list[CudaSlot]:
    """Return `depth` slots, with graphs if possible. The context is current. Raises as make_slot() does."""
    slots = []
    with ExitStack() as undo:
        for _ in range(depth):
            slot = make_slot(gpu, engine, mapped=mapped, strength=strength)
            undo.callback(slot.close)
            slots.append(slot)
        all(slot.record_graph() for slot in slots)  # what the first cannot, the others need not try
        undo.pop_all()
    return slots


def log_layers(gpu: CudaDevice, engine: trt.ICudaEngine, *, mapped: bool) -> None:
    """Log the layer profile: the mean time of each layer, slowest first. The context is current.

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
        for _ in range(PROFILED_FRAMES):
            slot.launch(blank)
            slot.wait(WARM_UP_TIMEOUT_S)
    finally:
        slot.close()
    total = sum(profiler.spent.values()) or 1.0
    log.info("layers, mean of %d inferences, %.3f ms in all:", PROFILED_FRAMES, total / PROFILED_FRAMES)
    for name, ms in sorted(profiler.spent.items(), key=lambda item: -item[1]):
        log.info("%8.3f ms %5.1f %%  %s", ms / PROFILED_FRAMES, 100 * ms / total, name)


def engine_for(
    gpu: CudaDevice, path: Path, size: tuple[int, int], dla: int | None, progress: BuildProgress
) -> tuple[trt.ICudaEngine, Plan]:
    """Return TensorRT's engine for inputs of `size`, and its plan, which is built if none is kept.

    The context is current. Raises EngineError, ModelError.
    """
    plans = PlanCache()
    key = key_for(path, size, gpu_name(gpu.name, gpu.capability), dla=dla)
    timing = f"timing-{digest((key.sdk + key.gpu).encode())[:12]}.cache"

    def built() -> Plan:
        workspace = int(min(MAX_WORKSPACE_BYTES, max(MIN_WORKSPACE_BYTES, gpu.free() * WORKSPACE_SHARE)))
        # Told which GPU it is for, TensorRT-RTX takes the oldest it knows too, and says so of one that it does not.
        local = [gpu.capability] if portable() else []
        return build(path, size, progress, dla=dla, capabilities=local, workspace=workspace, plans=plans, timing=timing)

    runtime = trt.Runtime(logger())  # it ends the process where there is no driver: `gpu` shows that there is one
    if dla is not None:
        runtime.DLA_core = dla
    return plans.get(key, built, runtime.deserialize_cuda_engine, progress)


def load(
    request: EngineRequest, *, progress: BuildProgress | None = None, strength: Strength | None = None
) -> Engine[Any]:
    """Return a TensorRT engine for `request`, of which size, model, scale, depth and `tensorrt` count.

    Args:
        request: What is wanted.
        progress: Receives the progress of a build, and can end it.
        strength: Read for each frame, if the model takes one; a plan is the same for all strengths.

    Raises:
        ModelError: The model is missing, breaks the contract or does not take this size.
        EngineError: TensorRT or the GPU cannot be used, or the build has failed.
    """
    size, depth, options = request.size, request.depth, request.tensorrt
    dla = options.dla
    gpu = device()
    sdk.module()  # one that does not start is reported before a model that is not there
    path = resolve_file(request.model, request.scale, PREFERRED_PRECISIONS).path
    assert path is not None  # resolve_file() always has one
    mapped = gpu.integrated and gpu.maps if options.memory == "auto" else options.memory == "mapped"
    try:
        with gpu:
            engine, plan = engine_for(gpu, path, size, dla, progress or BuildProgress())
            if options.profile:
                log_layers(gpu, engine, mapped=mapped)
            (_, taken), (_, given) = tensors(engine)
            scale = scale_between(path, (taken[2], taken[1]), (given[2], given[1]))
            slots = make_slots(gpu, engine, depth, mapped=mapped, strength=strength)
            takes_strength = STRENGTH_INPUT in tensor_names(engine)
    except (gpu.driver.Error, driver.CudaError) as error:
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
        takes_strength=takes_strength,
    )
    # The execution contexts keep the engine alive, so closing the slots frees all there is.
    return SlotEngine(spec, slots)
