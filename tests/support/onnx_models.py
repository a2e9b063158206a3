"""Small ONNX models, made here: some keep the contract of engines/catalog/contract.py, some break it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BYTES, FLOATS, HALVES = TensorProto.UINT8, TensorProto.FLOAT, TensorProto.FLOAT16
GAINS = (1.0, 0.97, 0.94)
"""What network() multiplies the first, second and third colour by: swapped colours show."""
FLOOR = 0.05
"""Nothing network() gives is darker, as a share of white: a wrong range shows."""


def port(name: str, kind: int = BYTES, shape: tuple[int | str, ...] = (1, "H", "W", 3)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def save(
    path: Path, nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
) -> str:
    graph = helper.make_graph(nodes, "made", inputs, outputs)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    return str(path)


def resizing(path: Path, scale: float) -> str:
    """A model that repeats each pixel `scale` times along both axes."""
    nodes = [
        helper.make_node("Cast", ["frame"], ["f"], to=FLOATS),
        helper.make_node("Constant", [], ["by"], value_floats=[1.0, scale, scale, 1.0]),
        helper.make_node("Resize", ["f", "", "by"], ["g"], mode="nearest"),
        helper.make_node("Cast", ["g"], ["sr"], to=BYTES),
    ]
    return save(path, nodes, [port("frame")], [port("sr", shape=(1, "h", "w", 3))])


def same(kind: str = "Identity", *names: str) -> list[onnx.NodeProto]:
    return [helper.make_node(kind, list(names) or ["frame"], ["sr"])]


def network(
    path: Path,
    *,
    white: float = 1,
    scale: float = 2,
    multiple: int = 1,
    lost: int = 0,
    first: int | None = None,
    last: bool = False,
    kind: int = FLOATS,
    gains: tuple[float, ...] = GAINS,
    size: tuple[int | str, int | str] = ("h", "w"),
    batch: int | str = "n",
    names: tuple[str, str] = ("input", "output"),
    opset: int = 17,
    mode: str = "nearest",
) -> Path:
    """Repeats each pixel `scale` times, in values of 0..`white`, and loses `lost` pixels of what it has made, `first`
    of them, if not half, at the top and on the left."""
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    flow = names[0]

    def add(op: str, *inputs: str, **attributes: Any) -> None:
        nonlocal flow
        nodes.append(helper.make_node(op, [flow, *inputs], [f"planes{len(nodes)}"], **attributes))  # names as ours
        flow = nodes[-1].output[0]

    def constant(values: Any, dtype: Any = None) -> str:
        dtype = dtype or helper.tensor_dtype_to_np_dtype(kind)
        constants.append(numpy_helper.from_array(np.asarray(values, dtype), f"levels{len(constants)}"))
        return constants[-1].name

    if last:
        add("Transpose", perm=[0, 3, 1, 2])
    if multiple > 1:
        add("SpaceToDepth", blocksize=multiple)
        add("DepthToSpace", blocksize=multiple)
    if opset < 11:
        add("Clip", min=FLOOR * white, max=float(white))
    else:
        add("Clip", constant(FLOOR * white), constant(white))
    add("Mul", constant(np.reshape(gains, (-1, 1, 1))))
    if opset < 10:
        add("Upsample", constant([1, 1, scale, scale], np.float32), mode=mode)
    else:
        add("Resize", "", constant([1, 1, scale, scale], np.float32), mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric")  # fmt: skip
    if lost:
        begin = lost // 2 if first is None else first
        end = begin - lost or 2**31
        add("Slice", *(constant(values, np.int64) for values in ([begin] * 2, [end] * 2, [2, 3])))
    if last:
        add("Transpose", perm=[0, 2, 3, 1])
    nodes[-1].output[:] = [names[1]]
    shape = [batch, *size, len(gains)] if last else [batch, len(gains), *size]
    large = [n * int(scale) if isinstance(n, int) else n.upper() for n in size]
    result = [batch, *large, len(gains)] if last else [batch, len(gains), *large]
    inputs, outputs = (helper.make_tensor_value_info(n, kind, s) for n, s in zip(names, (shape, result), strict=True))
    graph = helper.make_graph(nodes, "theirs", [inputs], [outputs], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path
