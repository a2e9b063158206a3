"""Makes a plan of an .onnx file, by TensorRT's parser and builder.

Networks are strongly typed: the precision is the file's.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engines.catalog.contract import STRENGTH_INPUT, refused, scale_between, unfit
from engines.errors import EngineError
from engines.support.progress import BuildProgress
from engines.tensorrt.plan_cache import Plan, PlanCache, PlanKey, digest, stopped
from engines.tensorrt.sdk import gpu_name, last_error, logger, portable, sdk_name, trt

PREFERRED_PRECISIONS = ("fp16", "fp32", "int8")
"""Which file of a model to take where its name leaves it open: tensor cores want fp16, and int8 costs quality.

fp32 is computed in TF32, TensorRT's default as it is PyTorch's, on the GPUs that can.
"""


def monitor(progress: BuildProgress) -> trt.IProgressMonitor:
    """Return a monitor that reports TensorRT's phases to `progress`, which can end the build."""

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
    """Return TensorRT's own kind of tuple as a plain one."""
    return tuple(shape[axis] for axis in range(len(shape)))


def parse(
    builder: trt.Builder, path: Path, size: tuple[int, int], *, typed: bool, dla: bool = False
) -> trt.INetworkDefinition:
    """Return the network of an .onnx file for inputs of `size` (width, height).

    `typed`: strongly, so that the precision is the file's; `dla`: in forms that a DLA can take.

    Raises:
        EngineError: TensorRT cannot read it.
        ModelError: It breaks the contract.
    """
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # from some version on they all are
    network = builder.create_network(1 << int(flag) if typed and flag is not None else 0)
    parser = trt.OnnxParser(network, logger())
    if dla and (adjust := getattr(trt.OnnxParserFlag, "ADJUST_FOR_DLA", None)) is not None:
        parser.set_flag(adjust)  # layers in the forms that a DLA can take, from 10.16 on
    if not parser.parse_from_file(str(path)):
        errors = "; ".join(parser.get_error(i).desc() for i in range(parser.num_errors)) or last_error()
        raise EngineError(f"TensorRT cannot read {path}", errors, "Try --engine openvino, or export the model again.")
    frames = network.num_inputs - takes_strength(network)
    for kind, count in (("input", frames), ("output", network.num_outputs)):
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


def takes_strength(network: trt.INetworkDefinition) -> bool:
    """Return whether the second and last input of `network` is the contract's strength."""
    if network.num_inputs != 2:
        return False
    port = network.get_input(1)
    return port.name == STRENGTH_INPUT and port.dtype == trt.float32 and dimensions(port.shape) == (1,)


def precision_of(network: trt.INetworkDefinition) -> str:
    """Return what the arithmetic is done in, by the network: fp32, fp16 or int8."""
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    if any(layer.type == trt.LayerType.QUANTIZE for layer in layers):
        return "int8"
    return "fp16" if any(layer.get_output(0).dtype == trt.float16 for layer in layers) else "fp32"


def configuration(builder: trt.Builder, progress: BuildProgress, workspace: int | None) -> trt.IBuilderConfig:
    """Return the options of every build; `workspace` in bytes."""
    config = builder.create_builder_config()
    config.progress_monitor = monitor(progress)
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # costs nothing, and gives the layers their names
    if workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    if (flag := getattr(trt.BuilderFlag, "REQUIRE_USER_ALLOCATION", None)) is not None:
        config.set_flag(flag)  # TensorRT-RTX records no graph without
    return config


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
    """Build for GPUs of these compute capabilities, which need not be here. Raises EngineError."""
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


def serialized(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    plans: PlanCache | None,
    timing: str,
) -> trt.IHostMemory | None:
    """Return the bytes of a plan, None if it cannot be built; the timing cache is `timing` in `plans`."""
    timed = plans if timing and not portable() else None  # TensorRT-RTX times nothing while it builds
    if timed:
        cache = config.create_timing_cache(timed.read(timing))
        if cache is not None:  # None: it was damaged, or of another version
            config.set_timing_cache(cache, ignore_mismatch=False)
    body = builder.build_serialized_network(network, config)
    if timed and (cache := config.get_timing_cache()) is not None:
        timed.write(timing, bytes(cache.serialize()))
    return body


def build(
    path: Path,
    size: tuple[int, int],
    progress: BuildProgress,
    *,
    dla: int | None = None,
    capabilities: Sequence[str] = (),
    workspace: int | None = None,
    plans: PlanCache | None = None,
    timing: str = "",
) -> Plan:
    """Return a plan of an .onnx file for inputs of `size` (width, height).

    Args:
        path: The file.
        size: The only size that the plan takes.
        progress: Receives the progress of the build, and can end it.
        dla: The DLA core to build for; None: the GPU.
        capabilities: Compute capabilities such as "8.6" to build for, which TensorRT-RTX can without a GPU.
        workspace: The most bytes that the builder may use; None: as it likes.
        plans: Where the timing cache is kept.
        timing: Its name there.

    Raises:
        EngineError: TensorRT cannot build it.
        ModelError: The file breaks the contract.
    """
    builder = trt.Builder(logger())
    # Before strong typing DLA took its precision from a flag, which is gone where networks are always typed.
    half = getattr(trt.BuilderFlag, "FP16", None) if dla is not None else None
    network = parse(builder, path, size, typed=half is None, dla=dla is not None)
    config = configuration(builder, progress, workspace)
    if half is not None:
        config.set_flag(half)
    if dla is not None:
        use_dla(builder, config, dla)
    if capabilities:
        target(config, capabilities)
    body = serialized(builder, network, config, plans, timing)
    if progress.cancelled:
        raise stopped()
    if body is None:
        raise EngineError(
            f"TensorRT cannot build {path.stem} at {size[0]}x{size[1]}",
            last_error(),
            "If memory is short, close other programs or choose a smaller --size; else try --engine openvino.",
        )
    return Plan(bytes(body), precision_of(network))


def key_for(path: Path, size: tuple[int, int], gpu: str, *, dla: int | None) -> PlanKey:
    """Return what the plan of a model depends on; `gpu` as sdk.gpu_name() has it."""
    return PlanKey(
        model=path.stem,
        checksum=digest(path.read_bytes()),
        size=f"{size[0]}x{size[1]}",
        sdk=sdk_name(),
        gpu=gpu,
        options="" if dla is None else f"dla {dla}",
    )


def build_ahead(
    path: Path, size: tuple[int, int], capability: str, plans: PlanCache, progress: BuildProgress
) -> tuple[Path, Plan]:
    """Build for GPUs of a compute capability that need not be here, and keep the plan.

    Returns its file and the plan. Raises EngineError.
    """
    plan = build(path, size, progress, capabilities=[capability])
    return plans.put(key_for(path, size, gpu_name("", capability), dla=None), plan), plan
