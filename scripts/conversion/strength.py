"""The input `strength` of a model (engines/catalog/contract.py): writing it, also into files that were made without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.catalog.contract import STRENGTH_INPUT
from engines.errors import UserError
from scripts.common import onnx_files
from scripts.common.onnx_files import takes_strength
from scripts.common.onnx_graph import OnnxGraph

DETAIL_SUM, SCALED_DETAIL = "sharp", "scaled_detail"
"""Names of nodes: the sum of base picture and detail, and what is multiplied for it."""


class StrengthError(UserError):
    """A model cannot be given the input."""


def strength_port() -> onnx.ValueInfoProto:
    """Return the graph input `strength`, float32 [1]."""
    return helper.make_tensor_value_info(STRENGTH_INPUT, TensorProto.FLOAT, [1])


def scale_detail(graph: OnnxGraph, detail: str, kind: int = TensorProto.FLOAT) -> str:
    """Append what multiplies `detail`, [N, C, H, W] of type `kind`, by the strength; return the product's name.

    With as many axes as the detail: with one, OpenVINO would put the detail into another layout and back, and a batch
    of pictures, each with its own strength, would not be multiplied by the right ones.
    """
    factor = graph.add("Cast", "strength_value", STRENGTH_INPUT, to=kind)
    axes = graph.constant("strength_axes.which", np.array([1, 2, 3], np.int64))
    return graph.add("Mul", SCALED_DETAIL, detail, graph.add("Unsqueeze", "strength_axes", factor, axes))


def add_strength(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of `model` that multiplies its detail by a new input; no weight is touched.

    `model` is of the form that scripts/conversion/exporter.py writes, in any precision. In an int8 one the product
    stands behind the last convolution, in floats. Raises StrengthError for any other, and for one that has the input.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    nodes = result.graph.node
    if takes_strength(model):
        raise StrengthError("The model has the input `strength` already", fix="Use it as it is.")
    places = [index for index, node in enumerate(nodes) if node.op_type == "Add" and list(node.output) == [DETAIL_SUM]]
    kinds = [node.attribute[0].i for node in nodes if node.op_type == "Cast" and list(node.input) == ["frame"]]
    if len(places) != 1 or len(kinds) != 1:
        raise StrengthError(
            "The model has no detail of its own that could be scaled",
            "it is not of the form that scripts/export.py writes",
            "Export it from its checkpoint; a network of somebody else's is put under the contract with --wrap.",
        )
    graph, total = OnnxGraph(), nodes[places[0]]
    total.input[1] = scale_detail(graph, total.input[1], kinds[0])
    for node in reversed(graph.nodes):
        nodes.insert(places[0], node)
    result.graph.initializer.extend(graph.constants)
    result.graph.input.append(strength_port())
    onnx.checker.check_model(result, full_check=True)
    return result


def upgrade(source: Path, target: Path) -> str:
    """Write `source`, an .onnx file, with the input to `target`, which may be the same; return a line about it.

    Raises StrengthError, ModelError.
    """
    model = onnx_files.read(source)
    weights = [numpy_helper.to_array(constant) for constant in model.graph.initializer]
    result = add_strength(model)
    kept = [numpy_helper.to_array(constant) for constant in result.graph.initializer[: len(weights)]]
    assert all(np.array_equal(before, after) for before, after in zip(weights, kept, strict=True))
    try:
        onnx_files.save(result, target)
    except OSError as error:
        raise StrengthError(f"{target} cannot be written", error.strerror or str(error), "Give another path.") from None
    return f"{target}: {source.name} with the input `{STRENGTH_INPUT}`; its {len(weights)} constants are as they were"
