"""The bytes stay what DepthToSpace makes of them, and a graph that cannot be cut stays as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.base import Image
from engines.catalog import shipped as catalog
from engines.openvino import engine as openvino_engine
from engines.openvino import row_shuffle
from tests.support.networks import picture_of

pytestmark = pytest.mark.integration

SIZE = (37, 23)
Way = Callable[[ov.Model], bool]


def made(model: ov.Model, frame: Image, precision: str) -> Image:
    options = {"INFERENCE_NUM_THREADS": 1} | ({"INFERENCE_PRECISION_HINT": precision} if precision else {})
    compiled = openvino_engine.core().compile_model(model, "CPU", options)
    return picture_of(compiled, frame)


def both(path: Path, way: Way, *, precision: str = "") -> tuple[Image, Image, bool, Counter[str]]:
    """Pictures of a model as it is and by rows, in the processor's own precision or another; whether that was done; the
    operations of the latter."""
    frame = np.random.default_rng(3).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    whole, other = openvino_engine.read(path), openvino_engine.read(path)
    for model in (whole, other):
        openvino_engine.fit(model, path, SIZE)
    done = way(other)
    kinds = Counter(node.get_type_name() for node in other.get_ops())
    return made(whole, frame, precision), made(other, frame, precision), done, kinds


@pytest.mark.parametrize("model", catalog.shipped(), ids=[model.path.stem for model in catalog.shipped()])
def test_shipped_models_make_the_same_pictures_by_rows(model: catalog.ShippedModel) -> None:
    whole, other, done, kinds = both(model.path, row_shuffle.apply)
    assert done and not kinds["DepthToSpace"]
    np.testing.assert_array_equal(whole, other)


def subpixel(
    path: Path,
    *,
    mode: str = "CRD",
    kind: str | None = None,
    ending: str | None = None,
    pad: str | None = None,
    different: int = 27,
    added: bool = False,
) -> Path:
    """A network of one convolution that enlarges 3 times; `kind` stands before its sub-pixels, `ending` after them.

    `pad` is the mode in which the picture gets one more row above and one more column on the right; by default the
    convolution makes edges of its own, black ones. Of its channels the first `different` ones are; the others repeat
    them from the first one on. What another one makes of the picture, all of it different, is `added` to that.
    """
    random = np.random.default_rng(1)
    weights = {
        "w": np.resize(random.normal(0, 0.2, (different, 3, 3, 3)).astype(np.float32), (27, 3, 3, 3)),
        "b": np.resize(random.normal(60, 20, different).astype(np.float32), 27),
        "w2": random.normal(0, 0.2, (27, 3, 3, 3)).astype(np.float32),
        "low": np.float32(0),
        "high": np.float32(255),
        "edges": np.array([0, 0, 1, 0, 0, 0, 0, 1], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["frame"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["f"], ["x"], perm=[0, 3, 1, 2]),
        helper.make_node("Pad", ["x", "edges"], ["padded"], mode=pad) if pad else None,
        helper.make_node(
            "Conv", ["padded" if pad else "x", "w", "b"], ["y"], pads=[0, 1, 1, 0] if pad else [1, 1, 1, 1]
        ),
        helper.make_node(kind, ["y"], ["z"]) if kind else None,
        helper.make_node("Conv", ["x", "w2"], ["base"], pads=[1, 1, 1, 1]) if added else None,
        helper.make_node("Add", ["base", "y"], ["z"]) if added else None,
        helper.make_node("Clip", ["z" if kind or added else "y", "low", "high"], ["limited"]),
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
    whole, other, done, kinds = both(subpixel(tmp_path / "m.onnx", mode=mode), row_shuffle.split_depth_to_space)
    assert done and not kinds["DepthToSpace"] and kinds["Convolution"] == 3
    assert whole.std() > 10
    np.testing.assert_array_equal(whole, other)


@pytest.mark.parametrize("mode", ["CRD", "DCR"])
@pytest.mark.parametrize(("different", "once"), [(9, True), (1, True), (14, False)])
@pytest.mark.parametrize("added", [True, False], ids=["added", "alone"])
def test_summands_computed_alike_are_computed_once(
    tmp_path: Path, added: bool, different: int, once: bool, mode: str
) -> None:
    path = subpixel(tmp_path / "m.onnx", different=different, added=added, mode=mode)
    whole, other, done, _ = both(path, row_shuffle.split_depth_to_space, precision="f32")
    assert done and whole.std() > 10
    np.testing.assert_array_equal(whole, other)
    model = openvino_engine.read(path)
    openvino_engine.fit(model, path, SIZE)
    row_shuffle.split_depth_to_space(model)
    kernels = [node.input_value(1).get_shape() for node in model.get_ops() if node.get_type_name() == "Convolution"]
    apart, row = [(9, 3, 3, 3)] * 3, (9, different, 1, 1)
    together = [row] * 3 + [(different, 3, 3, 3)] if once and added else apart
    assert sorted(map(tuple, kernels)) == sorted(together + apart * added)


@pytest.mark.parametrize("how", [{"kind": "Selu"}, {"ending": "Abs"}], ids=str)
def test_what_cannot_be_computed_apart_stays_as_it_is(tmp_path: Path, how: dict[str, Any]) -> None:
    whole, other, done, kinds = both(subpixel(tmp_path / "m.onnx", **how), row_shuffle.split_depth_to_space)
    assert not done and kinds["DepthToSpace"] == 1 and kinds["Convolution"] == 1
    np.testing.assert_array_equal(whole, other)


def padded(model: ov.Model) -> list[str]:
    """The types of what gets edges."""
    return [node.get_input_element_type(0).to_string() for node in model.get_ops() if node.get_type_name() == "Pad"]


@pytest.mark.parametrize("name", ["fast-x2", "fast-x2-int8", "fast-webcam-x2", "quality-x4-int8"])
def test_shipped_models_get_their_edges_as_bytes(name: str) -> None:
    path = catalog.find(name)
    model = openvino_engine.read(path)
    openvino_engine.fit(model, path, SIZE)
    assert row_shuffle.pad_before_convert(model) and padded(model) == ["u8"]
    whole, other, *_ = both(path, row_shuffle.pad_before_convert)
    np.testing.assert_array_equal(whole, other)


@pytest.mark.parametrize(
    ("pad", "expected"), [("edge", True), ("constant", False), ("reflect", False), (None, False)], ids=str
)
def test_edges_that_are_no_repetition_stay_as_they_are(tmp_path: Path, pad: str | None, expected: bool) -> None:
    whole, other, done, kinds = both(subpixel(tmp_path / "m.onnx", pad=pad), row_shuffle.pad_before_convert)
    assert done is expected and kinds["Pad"] == (pad is not None)
    np.testing.assert_array_equal(whole, other)
