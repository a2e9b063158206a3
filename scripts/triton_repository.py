#!/usr/bin/env python3
"""Write a model repository for a stock Triton Inference Server: python scripts/triton_repository.py FOLDER

  python          OpenVINO in Triton's Python backend: a server without a GPU
  openvino        Triton's OpenVINO backend: a server without a GPU
  onnxruntime     ONNX Runtime with its TensorRT accelerator: a GPU, nothing to build beforehand
  tensorrt_plan   TensorRT: the fastest on a GPU; FOLDER/build_plans.sh builds the plans on the server that runs them

Each model is served as NAME (pictures) and NAME-jpeg (JPEG files in and out, for cameras behind a network). What the
Python models import is in configs/triton/Dockerfile.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts.extras  # noqa: F401

# isort: split
import onnx

from engines import catalog
from engines.base import EngineError, UserError
from scripts import amounts
from scripts.model_file import enlarges, read
from scripts.sizes import size

FLAVOURS = ("python", "openvino", "onnxruntime", "tensorrt_plan")
SERVED = Path(__file__).resolve().parent / "served"
ROWS = Path(catalog.__file__).with_name("rows.py")
MOUNT = "/models"
"""Where the server has the repository: configs/triton/compose.yaml, kubernetes.yaml."""
SMALLEST = 16
QUEUED = 64
"""Requests that may wait for a model; more are refused at once, and the camera goes on by itself."""


@dataclass(frozen=True)
class Plan:
    """What is asked for. Sizes are (width, height) in pixels."""

    flavour: str = "python"
    fps: float = 30.0
    size: tuple[int, int] = (640, 360)
    largest: tuple[int, int] | None = None
    """What a GPU's engine can take; None: `size`. Each instance has memory of its own for a batch of these."""
    batch: int = 8
    """Pictures at once; with `openvino` always 1, for its backend refuses requests of any smaller batch."""
    instances: int = 2
    """One computes while the other's frames are copied. On two cores of an AMD EPYC, fast-x2-int8 and eight cameras,
    that made 68 frames a second in total of 58, for 1.7 ms more when a camera is alone (scripts/fleet.py)."""
    threads: int = 0
    jpeg: bool = True
    quality: int = 90

    def __post_init__(self) -> None:
        if self.flavour == "openvino":
            object.__setattr__(self, "batch", 1)

    @property
    def on_gpu(self) -> bool:
        return self.flavour in ("onnxruntime", "tensorrt_plan")

    @property
    def gather_us(self) -> int:
        """How long the batcher may wait for company, in microseconds: a tenth of a frame's time."""
        return round(1e6 / self.fps / 10)

    @property
    def give_up_us(self) -> int:
        """When a waiting request is refused that set no time of its own: a camera with a fallback does, as its picture
        has gone on by then; for a film being upscaled this is the longest queue."""
        return 30_000_000


def with_free_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model of the contract whose first dimension may be any number of pictures. Raises EngineError.

    The contract's operators treat pictures one by one, so the arithmetic for each stays what it was; a test runs both.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for port in (*result.graph.input, *result.graph.output):
        port.type.tensor_type.shape.dim[0].dim_param = "N"
    del result.graph.value_info[:]
    fixed = {node.op_type for node in result.graph.node} & {"Reshape", "Expand", "Squeeze", "Flatten", "Gather"}
    if fixed:
        raise EngineError(
            "The model cannot be batched",
            f"{', '.join(sorted(fixed))} may have the number of pictures, one, built in",
            "Export it without these operators, as scripts/export.py does.",
        )
    onnx.checker.check_model(result, full_check=True)
    return result


def config(name: str, scale: int, plan: Plan) -> Any:
    """The ModelConfig (Triton's protobuf) of a model that takes and gives pictures."""
    from tritonclient.grpc import model_config_pb2 as pb

    made = pb.ModelConfig(name=name, max_batch_size=plan.batch)
    made.input.add(name="frame", data_type=pb.TYPE_UINT8, dims=[-1, -1, 3])
    made.output.add(name="sr", data_type=pb.TYPE_UINT8, dims=[-1, -1, 3])
    made.parameters["scale"].string_value = str(scale)
    if plan.flavour == "tensorrt_plan":
        made.platform, made.backend = "tensorrt_plan", "tensorrt"
        made.default_model_filename = "model.plan"
    elif plan.flavour == "onnxruntime":
        made.platform, made.backend = "onnxruntime_onnx", "onnxruntime"
        accelerator = made.optimization.execution_accelerators.gpu_execution_accelerator.add(name="tensorrt")
        # What is in the file has to be allowed to the builder, too (microsoft/onnxruntime#13381).
        precision = next((one for one in ("fp16", "int8") if name.endswith(f"-{one}")), "fp32")
        for key, value in {
            "precision_mode": precision.upper(),
            "max_workspace_size_bytes": str(2**30),
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": f"{MOUNT}/{name}/cache",
            **{f"trt_profile_{kind}_shapes": shape for kind, shape in shapes(plan).items()},
        }.items():
            accelerator.parameters[key] = value
    elif plan.flavour == "openvino":
        made.backend, made.default_model_filename = "openvino", "model.xml"
        if plan.threads:
            made.parameters["INFERENCE_NUM_THREADS"].string_value = str(plan.threads)
    else:
        made.backend = "python"
        made.parameters["threads"].string_value = str(plan.threads)
    made.instance_group.add(
        count=plan.instances, kind=pb.ModelInstanceGroup.KIND_GPU if plan.on_gpu else pb.ModelInstanceGroup.KIND_CPU
    )
    batching(made, plan)
    warm = made.model_warmup.add(name=f"{plan.size[0]}x{plan.size[1]}", batch_size=1)
    first = warm.inputs["frame"]
    first.data_type, first.zero_data = pb.TYPE_UINT8, True
    first.dims.extend([plan.size[1], plan.size[0], 3])
    return made


def batching(made: Any, plan: Plan) -> None:
    """Queues bound to the time a frame is worth something; the newest version alone, so that a new one replaces it.

    On a processor a batch costs as much as its frames one by one, so there is no batcher. It would do harm: that of
    Triton 2.51 forgets a waiting request now and then until its next look 500 ms later (seen with one instance at
    up to 5 % of the requests, with two at none of 9,000; at none without a batcher).
    """
    from tritonclient.grpc import model_config_pb2 as pb

    made.version_policy.latest.num_versions = 1
    if not plan.on_gpu or made.name.startswith("jpeg-"):
        return
    made.dynamic_batching.max_queue_delay_microseconds = plan.gather_us
    policy = made.dynamic_batching.default_queue_policy
    policy.timeout_action = pb.ModelQueuePolicy.REJECT
    policy.default_timeout_microseconds = plan.give_up_us
    policy.allow_timeout_override = True
    policy.max_queue_size = QUEUED


def jpeg_step(step: str, plan: Plan) -> Any:
    """The ModelConfig of jpeg-decode or jpeg-encode."""
    from tritonclient.grpc import model_config_pb2 as pb

    made = pb.ModelConfig(name=f"jpeg-{step}", backend="python", max_batch_size=plan.batch)
    file: dict[str, Any] = {"data_type": pb.TYPE_STRING, "dims": [1]}
    picture: dict[str, Any] = {"data_type": pb.TYPE_UINT8, "dims": [-1, -1, 3]}
    made.input.add(**({"name": "frame_jpeg", **file} if step == "decode" else {"name": "sr", **picture}))
    made.output.add(**({"name": "frame", **picture} if step == "decode" else {"name": "sr_jpeg", **file}))
    made.parameters["step"].string_value = step
    made.parameters["quality"].string_value = str(plan.quality)
    made.instance_group.add(count=plan.instances, kind=pb.ModelInstanceGroup.KIND_CPU)
    batching(made, plan)
    return made


def ensemble(name: str, scale: int, plan: Plan) -> Any:
    """The ModelConfig of NAME-jpeg: decode, upscale, encode, all on the server."""
    from tritonclient.grpc import model_config_pb2 as pb

    made = pb.ModelConfig(name=f"{name}-jpeg", platform="ensemble", max_batch_size=plan.batch)
    made.input.add(name="frame_jpeg", data_type=pb.TYPE_STRING, dims=[1])
    made.output.add(name="sr_jpeg", data_type=pb.TYPE_STRING, dims=[1])
    made.parameters["scale"].string_value = str(scale)
    made.version_policy.latest.num_versions = 1
    steps = [("jpeg-decode", "frame_jpeg", "frame"), (name, "frame", "sr"), ("jpeg-encode", "sr", "sr_jpeg")]
    for model, taken, given in steps:
        step = made.ensemble_scheduling.step.add(model_name=model, model_version=-1)
        step.input_map[taken], step.output_map[given] = taken, given
    return made


def shapes(plan: Plan) -> dict[str, str]:
    """TensorRT's profile: the smallest, the usual and the largest input, as trtexec writes them."""

    def shape(count: int, width: int, height: int) -> str:
        return f"frame:{count}x{height}x{width}x3"

    return {
        "min": shape(1, SMALLEST, SMALLEST),
        "opt": shape(max(1, plan.batch // 2), *plan.size),
        "max": shape(plan.batch, *(plan.largest or plan.size)),
    }


def write_model(folder: Path, model: catalog.Model, plan: Plan) -> None:
    """FOLDER/NAME with its config.pbtxt and version 1. Raises EngineError, with nothing written, and OSError."""
    name, network = model.path.stem, read(model.path)
    if plan.flavour != "python":  # there, frames go through it one by one, as on the device
        network = with_free_batch(network)
    version = save(folder, config(name, model.scale, plan))
    if plan.flavour == "python":
        shutil.copy(model.path, version / "model.onnx")
        shutil.copy(SERVED / "upscale.py", version / "model.py")
        shutil.copy(ROWS, version)
    elif plan.flavour == "openvino":
        import openvino as ov

        served = ov.Core().read_model(network.SerializeToString())
        ov.save_model(served, version / "model.xml", compress_to_fp16=False)
    else:
        if plan.flavour == "onnxruntime":
            (version.parent / "cache").mkdir(exist_ok=True)
        onnx.save(network, (version if plan.flavour == "onnxruntime" else folder / name) / "model.onnx")
    if plan.jpeg:
        save(folder, ensemble(name, model.scale, plan))


def save(folder: Path, made: Any) -> Path:
    """Write a configuration; returns the folder of version 1, which Triton wants even if it is empty."""
    from google.protobuf import text_format

    version = folder / str(made.name) / "1"
    version.mkdir(parents=True, exist_ok=True)
    (folder / made.name / "config.pbtxt").write_text(text_format.MessageToString(made), encoding="utf-8")
    return version


def write(folder: Path, models: list[catalog.Model], plan: Plan) -> None:
    """The whole repository. Raises EngineError, OSError."""
    for model in models:
        write_model(folder, model, plan)
    if plan.jpeg:
        for step in ("decode", "encode"):
            shutil.copy(SERVED / "jpeg.py", save(folder, jpeg_step(step, plan)) / "model.py")
    if plan.flavour == "tensorrt_plan":
        text = (SERVED / "build_plans.sh").read_text(encoding="utf-8")
        for kind, shape in shapes(plan).items():
            text = text.replace(kind.upper(), shape)
        script = folder / "build_plans.sh"
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)


def chosen(names: list[str]) -> list[catalog.Model]:
    """The models of these names or in these files, all that are shipped without one. Raises EngineError."""
    shipped = {model.path: model for model in catalog.shipped()}
    paths = sorted({catalog.find(name) for name in names}) or list(shipped)
    return [shipped[path] if path in shipped else own(path) for path in paths]


def own(path: Path) -> catalog.Model:
    """The model in a file of somebody's own. Raises EngineError."""
    if (scale := enlarges(path)) is None:
        fix = "Put it under the contract first: scripts/export.py --wrap."
        raise EngineError(f"{path} does not tell how many times it enlarges", "neither its name nor it itself", fix)
    return catalog.Model(path.stem, scale, "", path)


def main(arguments: list[str] | None = None) -> int:
    plan = Plan()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--flavour", choices=FLAVOURS, default=plan.flavour, help=f"[{plan.flavour}]")
    parser.add_argument(
        "--model", action="append", default=[], metavar="NAME|FILE", help="again for more [all shipped]"
    )
    parser.add_argument("--fps", type=amounts.amount, default=plan.fps, help="of a camera; bounds the queues [30]")
    parser.add_argument("--size", type=size, default=plan.size, metavar="WxH", help="the usual input [640x360]")
    parser.add_argument("--largest", type=size, default=plan.largest, metavar="WxH", help="TensorRT only [as --size]")
    parser.add_argument("--batch", type=amounts.count, default=plan.batch, help="largest batch [8]")
    parser.add_argument(
        "--instances", type=amounts.count, default=plan.instances, help="of each model, on each GPU [2]"
    )
    parser.add_argument(
        "--threads", type=amounts.count_or_none, default=plan.threads, help="of an instance without a GPU; 0: all [0]"
    )
    parser.add_argument("--no-jpeg", dest="jpeg", action="store_false", help="leave the JPEG variants out")
    parser.add_argument(
        "--quality", type=amounts.count, default=plan.quality, help="of the JPEG answers, 1 to 100 [90]"
    )
    options = vars(parser.parse_args(arguments))
    folder, names, largest = options.pop("folder"), options.pop("model"), options["largest"] or options["size"]
    if options["quality"] > 100:
        parser.error("argument --quality: it goes from 1 to 100")
    if min(options["size"]) < SMALLEST:
        parser.error(f"argument --size: pictures are at least {SMALLEST}x{SMALLEST}")
    if largest[0] < options["size"][0] or largest[1] < options["size"][1]:
        parser.error("argument --largest: it is no smaller than --size")
    try:
        write(folder, chosen(names), Plan(**options))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Error: {folder} cannot be written\n  {error}\n  Give another folder.", file=sys.stderr)
        return 2
    print(f"{folder}: {', '.join(sorted(path.parent.name for path in folder.glob('*/config.pbtxt')))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
