"""Configurations of a model repository, each a ModelConfig of Triton's protobuf, and the plan that they are made by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engines.catalog.contract import STRENGTH_INPUT

FLAVOURS = ("python", "openvino", "onnxruntime", "tensorrt_plan")
MODELS_MOUNT = "/models"
"""Where the server has the repository: configs/triton/compose.yaml, kubernetes.yaml."""
MIN_INPUT_PX = 16
MAX_QUEUED_REQUESTS = 64
"""Requests that may wait for a model; more are refused at once, and the camera goes on by itself."""


@dataclass(frozen=True)
class ServingConfig:
    """What to serve and how. Sizes are (width, height) in pixels."""

    flavour: str = "python"
    fps: float = 30.0
    size: tuple[int, int] = (640, 360)
    largest: tuple[int, int] | None = None
    """What a GPU's engine can take; None: `size`. Each instance has memory of its own for a batch of these."""
    batch: int = 8
    """Pictures at once; with `openvino` always 1, for its backend refuses requests of any smaller batch."""
    instances: int = 2
    """One computes while the other's frames are copied. On two cores of an AMD EPYC, fast-x2-int8 and eight cameras,
    that made 68 frames a second in total of 58, for 1.7 ms more when a camera is alone
    (scripts/benchmarks/fleet/rivals.py)."""
    threads: int = 0
    jpeg: bool = True
    quality: int = 90

    def __post_init__(self) -> None:
        if self.flavour == "openvino":
            object.__setattr__(self, "batch", 1)

    @property
    def on_gpu(self) -> bool:
        """Whether the flavour computes on a GPU."""
        return self.flavour in ("onnxruntime", "tensorrt_plan")

    @property
    def gather_us(self) -> int:
        """How long the batcher may wait for more requests, in microseconds: a tenth of a frame's time."""
        return round(1e6 / self.fps / 10)

    @property
    def give_up_us(self) -> int:
        """How long a request may wait, in microseconds, that set no time itself.

        A camera with a fallback does set one, as its picture has moved on by then; for a film being upscaled this is
        the longest queue.
        """
        return 30_000_000


def config(name: str, scale: int, plan: ServingConfig, *, strength: bool = False) -> Any:
    """Return the ModelConfig (Triton's protobuf) of a model that takes and gives pictures.

    `strength`: whether its file takes one (engines/catalog/contract.py).
    """
    from tritonclient.grpc import model_config_pb2 as pb

    model = pb.ModelConfig(name=name, max_batch_size=plan.batch)
    model.input.add(name="frame", data_type=pb.TYPE_UINT8, dims=[-1, -1, 3])
    model.output.add(name="sr", data_type=pb.TYPE_UINT8, dims=[-1, -1, 3])
    if strength:
        add_strength(model, pb, optional=plan.flavour == "python")
    model.parameters["scale"].string_value = str(scale)
    if plan.flavour == "tensorrt_plan":
        model.platform, model.backend = "tensorrt_plan", "tensorrt"
        model.default_model_filename = "model.plan"
    elif plan.flavour == "onnxruntime":
        model.platform, model.backend = "onnxruntime_onnx", "onnxruntime"
        accelerator = model.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
        # What is in the file has to be allowed to the builder, too (microsoft/onnxruntime#13381).
        precision = next((kind_name for kind_name in ("fp16", "int8") if name.endswith(f"-{kind_name}")), "fp32")
        for key, value in {
            "precision_mode": precision.upper(),
            "max_workspace_size_bytes": str(2**30),
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": f"{MODELS_MOUNT}/{name}/cache",
            **{f"trt_profile_{kind}_shapes": shape for kind, shape in shapes(plan, strength=strength).items()},
        }.items():
            accelerator.parameters[key] = value
    elif plan.flavour == "openvino":
        model.backend, model.default_model_filename = "openvino", "model.xml"
        if plan.threads:
            model.parameters["INFERENCE_NUM_THREADS"].string_value = str(plan.threads)
    else:
        model.backend = "python"
        model.parameters["threads"].string_value = str(plan.threads)
    model.instance_group.add(
        count=plan.instances, kind=pb.ModelInstanceGroup.KIND_GPU if plan.on_gpu else pb.ModelInstanceGroup.KIND_CPU
    )
    batching(model, plan)
    warm = model.model_warmup.add(name=f"{plan.size[0]}x{plan.size[1]}", batch_size=1)
    first = warm.inputs["frame"]
    first.data_type, first.zero_data = pb.TYPE_UINT8, True
    first.dims.extend([plan.size[1], plan.size[0], 3])
    if strength and not model.input[1].optional:
        second = warm.inputs[STRENGTH_INPUT]
        second.data_type, second.zero_data = pb.TYPE_FP32, True
        second.dims.extend([1])
    return model


def add_strength(model: Any, pb: Any, *, optional: bool) -> None:
    """Add the input to the ModelConfig `model`: one number for each picture, 1 where it is left out.

    Only our own code can do without (`optional`). The other backends hand their network what a request holds, and the
    network's own input has an axis less: that of the batch alone.
    """
    port = model.input.add(name=STRENGTH_INPUT, data_type=pb.TYPE_FP32, dims=[1], optional=optional)
    if model.max_batch_size and not optional:
        port.reshape.CopyFrom(pb.ModelTensorReshape())


def batching(model: Any, plan: ServingConfig) -> None:
    """Set queues that are limited to the time a frame is worth something, and serve only the newest version.

    On a processor a batch costs as much as its frames one by one, so there is no batcher. It would do harm: that of
    Triton 2.51 forgets a waiting request now and then until its next look 500 ms later (seen with one instance at up to
    5 % of the requests, with two at none of 9,000; at none without a batcher).
    """
    from tritonclient.grpc import model_config_pb2 as pb

    model.version_policy.latest.num_versions = 1
    if not plan.on_gpu or model.name.startswith("jpeg-"):
        return
    model.dynamic_batching.max_queue_delay_microseconds = plan.gather_us
    policy = model.dynamic_batching.default_queue_policy
    policy.timeout_action = pb.ModelQueuePolicy.REJECT
    policy.default_timeout_microseconds = plan.give_up_us
    policy.allow_timeout_override = True
    policy.max_queue_size = MAX_QUEUED_REQUESTS


def jpeg_step(step: str, plan: ServingConfig) -> Any:
    """Return the ModelConfig of jpeg-decode or jpeg-encode."""
    from tritonclient.grpc import model_config_pb2 as pb

    model = pb.ModelConfig(name=f"jpeg-{step}", backend="python", max_batch_size=plan.batch)
    file: dict[str, Any] = {"data_type": pb.TYPE_STRING, "dims": [1]}
    picture: dict[str, Any] = {"data_type": pb.TYPE_UINT8, "dims": [-1, -1, 3]}
    model.input.add(**({"name": "frame_jpeg", **file} if step == "decode" else {"name": "sr", **picture}))
    model.output.add(**({"name": "frame", **picture} if step == "decode" else {"name": "sr_jpeg", **file}))
    model.parameters["step"].string_value = step
    model.parameters["quality"].string_value = str(plan.quality)
    model.instance_group.add(count=plan.instances, kind=pb.ModelInstanceGroup.KIND_CPU)
    batching(model, plan)
    return model


def ensemble(name: str, scale: int, plan: ServingConfig, *, strength: bool = False) -> Any:
    """Return the ModelConfig of NAME-jpeg: decode, upscale, encode, all on the server."""
    from tritonclient.grpc import model_config_pb2 as pb

    result = pb.ModelConfig(name=f"{name}-jpeg", platform="ensemble", max_batch_size=plan.batch)
    result.input.add(name="frame_jpeg", data_type=pb.TYPE_STRING, dims=[1])
    result.output.add(name="sr_jpeg", data_type=pb.TYPE_STRING, dims=[1])
    if strength:
        result.input.add(name=STRENGTH_INPUT, data_type=pb.TYPE_FP32, dims=[1], optional=plan.flavour == "python")
    result.parameters["scale"].string_value = str(scale)
    result.version_policy.latest.num_versions = 1
    steps = [("jpeg-decode", "frame_jpeg", "frame"), (name, "frame", "sr"), ("jpeg-encode", "sr", "sr_jpeg")]
    for model, taken, given in steps:
        step = result.ensemble_scheduling.step.add(model_name=model, model_version=-1)
        step.input_map[taken], step.output_map[given] = taken, given
        if strength and model == name:
            step.input_map[STRENGTH_INPUT] = STRENGTH_INPUT
    return result


def shapes(plan: ServingConfig, *, strength: bool = False) -> dict[str, str]:
    """Return TensorRT's profile: the smallest, the usual and the largest input, as trtexec writes them."""

    def shape(count: int, width: int, height: int) -> str:
        return f"frame:{count}x{height}x{width}x3" + (f",{STRENGTH_INPUT}:{count}" if strength else "")

    return {
        "min": shape(1, MIN_INPUT_PX, MIN_INPUT_PX),
        "opt": shape(max(1, plan.batch // 2), *plan.size),
        "max": shape(plan.batch, *(plan.largest or plan.size)),
    }
