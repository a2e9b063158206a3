"""Methods of enlarging one picture with a model: for measuring how good it is, not for speed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import engines
from engines.base import MIN_INPUT_SIZE, Engine, Image, Spec
from engines.catalog import shipped as catalog
from engines.catalog.onnx_metadata import properties
from engines.request import EngineRequest
from engines.slot_engine import SlotEngine
from scripts.common import onnx_files
from scripts.common.onnx_files import inputs_for

FILE_PRECISIONS = ("fp32", "fp16", "int8")
"""Those of shipped files, in the order in which they are reported."""

Run = Callable[[Image], Image]
"""Enlarges uint8 [H, W, 3] BGR; the result is the caller's."""


@dataclass(frozen=True)
class MeasuredUpscaler:
    """A model, and how it is computed."""

    model: str
    """The name without the precision: fast-x2."""
    scale: int
    precision: str
    """fp32, bf16, fp16 or int8: what the arithmetic is done in."""
    run: Run
    file: Path


def upscale_one(engine: Engine[Any], image: Image) -> Image:
    """Return a copy of `image` enlarged by an engine that has nothing else to do.

    To be called repeatedly the engine needs a depth of 2: of two slots one stays borrowed.
    """
    engine.reserve()
    engine.submit(image, None)
    result = engine.collect(timeout=60)
    assert result is not None  # only a cancelled engine ends before its frame
    copy: Image = result[0].copy()
    return copy


def through(engine: str, model: str, scale: int = 2) -> Run:
    """Return a method that uses the engine that people use, loaded again for the size of each picture."""

    def run(image: Image) -> Image:
        with engines.load(
            EngineRequest(engine, model, (image.shape[1], image.shape[0]), depth=1, scale=scale)
        ) as loaded:
            return upscale_one(loaded, image)

    return run


def bicubic(scale: int) -> Run:
    """Return OpenCV's bicubic interpolation as a method."""
    return through("bicubic", "", scale)


@contextmanager
def in_f32(model: Path, size: tuple[int, int], threads: int | None = None) -> Iterator[Engine[Any]]:
    """Yield OpenVINO for inputs of `size` (width, height), computing in f32 even where it would prefer bf16."""
    from engines.openvino import engine as openvino_engine

    network = openvino_engine.read(model)
    scale = openvino_engine.fit(network, model, size)
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino_engine.core().compile_model(network, "CPU", options)
    spec = Spec("openvino", "CPU", model.stem, "fp32", scale, size, (size[0] * scale, size[1] * scale))
    engine: Engine[Any] = SlotEngine(spec, [openvino_engine.OpenVinoSlot(compiled) for _ in range(2)])
    with engine:
        yield engine


def exact(model: Path) -> Run:
    """Return a method that computes an fp32 file in f32: the other precisions are compared with it."""

    def run(image: Image) -> Image:
        with in_f32(model, (image.shape[1], image.shape[0])) as engine:
            return upscale_one(engine, image)

    return run


def float16(model: Path) -> Run:
    """Return a method that computes a float16 file as typed: every value between two operations is rounded to float16.

    It uses ONNX's reference evaluator, as few processors compute in float16. Convolutions are summed in fp32, which is
    how TensorRT's tensor cores do it.
    """
    from onnx.reference import ReferenceEvaluator
    from onnx.reference.ops.op_conv import Conv as Own

    class Conv(Own):
        op_domain = ""

        def _run(self, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
            wide = (value.astype(np.float32) for value in inputs)
            results = super()._run(*wide, **attributes)  # type: ignore[no-untyped-call]
            return tuple(value.astype(inputs[0].dtype) for value in results)

    read = onnx_files.read(model)
    evaluator = ReferenceEvaluator(read, new_ops=[Conv])

    def run(image: Image) -> Image:
        sr, *_ = evaluator.run(None, inputs_for(read, image[None]))
        result: Image = np.asarray(sr, np.uint8)[0]
        return result

    return run


def spec_of(engine: str, model: str) -> Spec:
    """Return what an engine reports of a model; its precision is that of the arithmetic."""
    with engines.load(EngineRequest(engine, model, MIN_INPUT_SIZE, depth=1)) as loaded:
        return loaded.spec


def variants(engine: str, file: Path) -> list[MeasuredUpscaler]:
    """Return the variants of computing one file that are worth measuring. Raises EngineError.

    With OpenVINO, an fp32 file in f32 and, where that differs, as the processor does it by default; a float16 one as it
    is typed. With any other engine, as the engine does it.
    """
    spec = spec_of(engine, str(file))
    known = {model.path.absolute(): model for model in catalog.shipped()}.get(file.absolute())
    name = f"{known.name}-x{known.scale}" if known else file.stem
    plain = MeasuredUpscaler(name, spec.scale, spec.precision, through(engine, str(file), spec.scale), file)
    if engine != "openvino" or not known:
        return [plain]
    if known.precision == "fp16":
        return [MeasuredUpscaler(name, spec.scale, "fp16", float16(file), file)]
    if known.precision == "fp32":
        rounded = [plain] if spec.precision != "fp32" else []
        return [MeasuredUpscaler(name, spec.scale, "fp32", exact(file), file), *rounded]
    return [plain]


def files(names: Sequence[str]) -> list[Path]:
    """Return the files that `names` stand for, sorted by name, scale and precision; without names all shipped ones.

    A name may leave out precision (all of them) and scale (all of them); a path is taken as it is. Raises ModelError.
    """
    models = sorted(catalog.shipped(), key=lambda m: (m.name, m.scale, FILE_PRECISIONS.index(m.precision)))
    chosen: list[Path] = [model.path for model in models] if not names else []
    for name in names:
        fitting = [model.path for model in models if name in model.names]
        chosen += fitting or [catalog.find(name)]  # which is a path, or an error that names the nearest
    return list(dict.fromkeys(chosen))


def parameters(file: Path) -> int | None:
    """Return the number of weights and biases in the metadata of an .onnx file; None if it has none."""
    count = properties(file).get("parameters", "")
    return int(count) if count.isdigit() else None
