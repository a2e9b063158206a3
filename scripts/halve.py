#!/usr/bin/env python3
"""Convert a shipped fp32 model to float16.

  python scripts/halve.py engines/models/fast-x2.onnx engines/models/fast-x2-fp16.onnx

Every tensor between the first cast and the last becomes float16, weights included. TensorRT has no switch for precision
(11 has no flag any more): it computes a network in the types of its file. Converters of other projects leave the first
cast at float32, which makes a file whose types do not fit together.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from engines.errors import UserError
from scripts.common import onnx_files

MAX_FLOAT16 = float(np.finfo(np.float16).max)


class HalveError(UserError):
    """The model cannot be converted to float16."""


def convert_to_float16(source: Path, target: Path) -> Path:
    """Write the fp32 model in `source` to `target` with float16 types; return `target`.

    Raises HalveError, ModelError.
    """
    model = onnx_files.read(source)
    onnx_files.check(target, source)
    for constant in model.graph.initializer:
        if constant.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(constant)
            if np.abs(values).max(initial=0) > MAX_FLOAT16:
                raise HalveError(
                    f"{source} does not fit into float16", f"{constant.name} has values above {MAX_FLOAT16:g}"
                )
            constant.CopyFrom(numpy_helper.from_array(values.astype(np.float16), constant.name))
    casts = 0
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
                casts += 1
    if not casts:
        raise HalveError(f"{source} has no cast to float32", "it is float16 already, or not from this project")
    try:
        onnx.checker.check_model(model, full_check=True)
        onnx_files.save(model, target)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise HalveError(
            f"{source} cannot be converted to float16",
            str(error).splitlines()[0],
            "If it was wrapped: export the original network in float16, and wrap that.",
        ) from None
    except OSError as error:
        raise HalveError(f"{target} cannot be written", error.strerror or str(error), "Give another path.") from None
    return target


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="an fp32 model")
    parser.add_argument("target", type=Path, help="NAME-x<scale>-fp16.onnx to write")
    options = parser.parse_args(arguments)
    try:
        path = convert_to_float16(options.source, options.target)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
