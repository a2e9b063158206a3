"""Rows: the bytes stay what DepthToSpace makes of them, and a graph that cannot be cut stays as it is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines import catalog, openvino, rows
from engines.base import Image

SIZE = (37, 23)
SUBPIXEL = [model for model in catalog.shipped() if model.scale >= rows.LEAST]


def made(model: ov.Model, frame: Image) -> Image:
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})
    return np.array(compiled(frame[None])[0])


def both(path: Path, *, size: tuple[int, int] = SIZE) -> tuple[Image, Image, bool, Counter[str]]:
    """Pictures of a model as it is and cut; whether it was cut; the operations of the latter."""
    frame = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), np.uint8)
    whole, cut = openvino.read(path), openvino.read(path)
    for model in (whole, cut):
        openvino.fit(model, path, size)
    done = rows.cut(cut)
    return made(whole, frame), made(cut, frame), done, Counter(node.get_type_name() for node in cut.get_ops())


@pytest.mark.parametrize("model", SUBPIXEL, ids=[model.path.stem for model in SUBPIXEL])
def test_shipped_models_make_the_same_pictures_by_rows(model: catalog.Model) -> None:
    whole, cut, done, kinds = both(model.path)
    assert done and not kinds["DepthToSpace"]
    np.testing.assert_array_equal(whole, cut)


def test_the_engine_takes_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[ov.Model] = []
    monkeypatch.setattr(rows, "cut", asked.append)
    for scale, times in ((4, 1), (2, 0)):
        asked.clear()
        with openvino.load("fast", SIZE, depth=1, threads=1, scale=scale):
            assert len(asked) == times


def subpixel(path: Path, *, mode: str = "CRD", kind: str | None = None, ending: str | None = None) -> Path:
    """A network of one convolution that enlarges 3 times; `kind` stands before its sub-pixels, `ending` after them."""
    random = np.random.default_rng(1)
    weights = {
        "w": random.normal(0, 0.2, (27, 3, 3, 3)).astype(np.float32),
        "b": random.normal(60, 20, 27).astype(np.float32),
        "low": np.float32(0),
        "high": np.float32(255),
    }
    nodes = [
        helper.make_node("Cast", ["frame"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["f"], ["x"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[1, 1, 1, 1]),
        helper.make_node(kind, ["y"], ["z"]) if kind else None,
        helper.make_node("Clip", ["z" if kind else "y", "low", "high"], ["limited"]),
        helper.make_node("DepthToSpace", ["limited"], ["large"], blocksize=3, mode=mode),
        helper.make_node(ending, ["large"], ["end"]) if ending else None,
        helper.make_node("Transpose", ["end" if ending else "large"], ["pixels"], perm=[0, 2, 3, 1]),
        helper.make_node("Cast", ["pixels"], ["sr"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        [node for node in nodes if node],
        "made",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, "H", "W", 3])],
        [helper.make_tensor_value_info("sr", TensorProto.UINT8, [1, "h", "w", 3])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("mode", ["CRD", "DCR"])
def test_both_orders_of_channels(tmp_path: Path, mode: str) -> None:
    whole, cut, done, kinds = both(subpixel(tmp_path / "m.onnx", mode=mode))
    assert done and not kinds["DepthToSpace"] and kinds["Convolution"] == 3
    assert whole.std() > 10
    np.testing.assert_array_equal(whole, cut)


@pytest.mark.parametrize("how", [{"kind": "Selu"}, {"ending": "Abs"}], ids=str)
def test_what_cannot_be_cut_stays_as_it_is(tmp_path: Path, how: dict[str, str]) -> None:
    whole, cut, done, kinds = both(subpixel(tmp_path / "m.onnx", **how))
    assert not done and kinds["DepthToSpace"] == 1 and kinds["Convolution"] == 1
    np.testing.assert_array_equal(whole, cut)
