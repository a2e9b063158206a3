"""Models of the contract: running them with a strength or without, and files as they were before there was one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov

from engines.base import Image
from scripts.conversion.strength import DETAIL_SUM, SCALED_DETAIL


def picture_of(compiled: ov.CompiledModel, frame: Image, strength: float = 1) -> Image:
    """What `compiled` makes of `frame`, uint8 [H, W, 3]: [1, s*H, s*W, 3]."""
    inputs = [frame[None], np.array([strength], np.float32)]
    return np.array(compiled(inputs[: len(compiled.inputs)])[0])


def psnr_db(one: Any, other: Any) -> float:
    error = float(np.mean((np.asarray(one, float) - np.asarray(other, float)) ** 2))
    return 10 * float(np.log10(255**2 / max(error, 1e-9)))


def without_strength(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model as it was before it had the input: its detail is added as it is."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    (scaled,) = (node for node in graph.node if node.name == SCALED_DETAIL)
    (total,) = (node for node in graph.node if node.name == DETAIL_SUM)
    total.input[1] = scaled.input[0]
    for node in [node for node in graph.node if node.name.startswith("strength_") or node.name == SCALED_DETAIL]:
        graph.node.remove(node)
    for constant in [one for one in graph.initializer if one.name.startswith("strength_")]:
        graph.initializer.remove(constant)
    del graph.input[1:]
    onnx.checker.check_model(result, full_check=True)
    return result


def old_file(path: Path, folder: Path) -> Path:
    """A copy of the file from before there was a strength, under the name old-x<scale>-<precision>.onnx."""
    model = without_strength(onnx.load(path))
    target = folder / f"old-x{next(p.value for p in model.metadata_props if p.key == 'scale')}.onnx"
    onnx.save(model, target)
    return target


def base_file(path: Path, folder: Path) -> Path:
    """A copy of the file that adds no detail at all."""
    model = without_strength(onnx.load(path))
    graph = model.graph
    (total,) = (node for node in graph.node if node.name == DETAIL_SUM)
    total.op_type, base = "Identity", total.input[0]
    total.input[:] = [base]
    wanted, kept = {"sr"}, []
    for node in reversed(graph.node):
        if set(node.output) & wanted:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
            wanted |= set(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    for constant in [one for one in graph.initializer if one.name not in wanted]:
        graph.initializer.remove(constant)
    onnx.checker.check_model(model, full_check=True)
    target = folder / f"base-x{next(p.value for p in model.metadata_props if p.key == 'scale')}.onnx"
    onnx.save(model, target)
    return target
