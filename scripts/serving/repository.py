"""A Triton model repository: models, their configurations and the files that they need beside them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import onnx

from engines.catalog import shipped as catalog
from engines.errors import EngineError
from scripts.common.checkout import ROOT
from scripts.common.onnx_files import read, scale_of_file, takes_strength
from scripts.serving.model_config import ServingConfig, config, ensemble, jpeg_step, shapes

SERVED_SOURCES = ROOT / "scripts/serving/served"


SHARED_MODULES = [
    ROOT / "engines/openvino" / name for name in ("row_shuffle.py", "self_check.py", "uint8_activations.py")
]
"""What upscale.py imports."""


def with_free_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a model of the contract whose first dimension may be any number of pictures.

    The contract's operators treat pictures one by one, so the arithmetic for each stays what it was; a test runs both.
    Raises EngineError.
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
            f"{', '.join(sorted(fixed))} may have a fixed number of pictures, one, built in",
            "Export it without these operators, as scripts/export.py does.",
        )
    onnx.checker.check_model(result, full_check=True)
    return result


def write_model(folder: Path, model: catalog.ShippedModel, plan: ServingConfig) -> None:
    """Write FOLDER/NAME. Raises EngineError, with nothing written, and OSError."""
    name, network = model.path.stem, read(model.path)
    if plan.flavour != "python":  # there, frames go through it one by one, as on the device
        network = with_free_batch(network)
    strength = takes_strength(network)
    version = save(folder, config(name, model.scale, plan, strength=strength))
    if plan.flavour == "python":
        shutil.copy(model.path, version / "model.onnx")
        shutil.copy(SERVED_SOURCES / "upscale.py", version / "model.py")
        for file in SHARED_MODULES:
            shutil.copy(file, version)
    elif plan.flavour == "openvino":
        import openvino as ov

        from engines.openvino import engine as openvino_engine
        from engines.openvino import row_shuffle, uint8_activations

        served = openvino_engine.core().read_model(network.SerializeToString())
        row_shuffle.pad_before_convert(served)
        uint8_activations.apply(served, None)  # on whatever processor the server has
        ov.save_model(served, version / "model.xml", compress_to_fp16=False)
    else:
        if plan.flavour == "onnxruntime":
            (version.parent / "cache").mkdir(exist_ok=True)
        onnx.save(network, (version if plan.flavour == "onnxruntime" else folder / name) / "model.onnx")
    if plan.jpeg:
        save(folder, ensemble(name, model.scale, plan, strength=strength))


def save(folder: Path, model_config: Any) -> Path:
    """Write a configuration; return the folder of version 1, which Triton wants even if it is empty."""
    from google.protobuf import text_format

    version = folder / str(model_config.name) / "1"
    version.mkdir(parents=True, exist_ok=True)
    (folder / model_config.name / "config.pbtxt").write_text(
        text_format.MessageToString(model_config), encoding="utf-8"
    )
    return version


def write_repository(folder: Path, models: list[catalog.ShippedModel], plan: ServingConfig) -> None:
    """Write the whole repository. Raises EngineError, OSError."""
    for model in models:
        write_model(folder, model, plan)
    if plan.jpeg:
        for step in ("decode", "encode"):
            shutil.copy(SERVED_SOURCES / "jpeg.py", save(folder, jpeg_step(step, plan)) / "model.py")
    if plan.flavour == "tensorrt_plan":
        text = (SERVED_SOURCES / "build_plans.sh").read_text(encoding="utf-8")
        for kind, shape in shapes(plan).items():
            text = text.replace(kind.upper(), shape)
        script = folder / "build_plans.sh"
        script.write_text(text, encoding="utf-8")
        script.chmod(0o755)


def chosen_models(names: list[str]) -> list[catalog.ShippedModel]:
    """Return the models of these names or in these files; without names all shipped. Raises EngineError."""
    shipped = {model.path: model for model in catalog.shipped()}
    paths = sorted({catalog.find(name) for name in names}) or list(shipped)
    return [shipped[path] if path in shipped else model_of_file(path) for path in paths]


def model_of_file(path: Path) -> catalog.ShippedModel:
    """Return the model in a file of the user's. Raises EngineError."""
    if (scale := scale_of_file(path)) is None:
        fix = "Put it under the contract first: scripts/export.py --wrap."
        raise EngineError(
            f"{path} does not say how many times it enlarges", "neither its name nor its metadata says so", fix
        )
    return catalog.ShippedModel(path.stem, scale, "", path)
