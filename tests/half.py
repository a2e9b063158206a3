"""An FP16-typed file of a shipped fp32 one: every tensor between the two casts is float16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper


def halved(source: Path, target: Path) -> Path:
    """Write `source` with float16 weights, constants and casts to `target`."""
    model = onnx.load(source)
    for constant in model.graph.initializer:
        if constant.data_type == TensorProto.FLOAT:
            constant.CopyFrom(
                numpy_helper.from_array(numpy_helper.to_array(constant).astype(np.float16), constant.name)
            )
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)
    return target
