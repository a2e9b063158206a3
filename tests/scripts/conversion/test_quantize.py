"""The INT8 file is the same network within what 8 bits cost, in the form that both engines take."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from engines.catalog import shipped as catalog
from tests.support.upscaling import upscaled

pytestmark = pytest.mark.torch  # scripts/ is installed with the extra of that mark


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs, as good as can be drawn: the demo's scene at some moments."""
    import cv2

    from app.sources.demo.camera import DemoCamera

    demo = DemoCamera(size=(160, 120), fps=10)
    for index in range(4):
        cv2.imwrite(str(tmp_path / f"{index}.png"), demo.picture(index * 17))
    return tmp_path


def gains(*models: str) -> list[float]:
    """PSNR over bicubic's, in dB, on a scene that is known at twice the size."""
    import cv2

    from app.sources.demo.camera import DemoCamera
    from engines.bicubic import enlarge
    from scripts.common.test_sets import psnr

    truth = DemoCamera(size=(384, 256), fps=10).picture(33)
    small = np.asarray(cv2.resize(truth, (192, 128), interpolation=cv2.INTER_AREA), np.uint8)
    plain = psnr(enlarge(small, np.empty_like(truth)), truth, border=2)
    return [psnr(upscaled(small, model), truth, border=2) - plain for model in models]


@pytest.fixture
def quantised(folder: Path) -> Path:
    from scripts.quantize import main

    file = folder / "made-x2-int8.onnx"
    assert main([str(catalog.find("fast")), "--data", str(folder), "--out", str(file)]) == 0
    return file


def test_it_gains_nearly_as_much(quantised: Path) -> None:
    whole, shipped, made = gains("fast-x2-fp32", "fast-x2-int8", str(quantised))
    assert whole > 0.5
    assert shipped > 0.85 * whole
    assert made > 0.85 * whole


@pytest.mark.parametrize("which", ["shipped", "made"])
def test_the_form_is_one_that_tensorrt_takes(which: str, request: pytest.FixtureRequest) -> None:
    """int8 with zero point 0, one scale a tensor or one an output channel, biases as they were."""
    file = catalog.find("fast", ["int8"]) if which == "shipped" else request.getfixturevalue("quantised")
    graph = onnx.load(file).graph
    constants = {c.name: onnx.numpy_helper.to_array(c) for c in graph.initializer}
    plain = {c.name: onnx.numpy_helper.to_array(c) for c in onnx.load(catalog.find("fast")).graph.initializer}
    pairs = [node for node in graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    inner = [node for node in graph.node if node.op_type == "Conv" and node.input[0].endswith("_dq")]
    assert len(inner) == 6 and len(pairs) == 3 * len(inner)
    for node in pairs:
        scale, zero = constants[node.input[1]], constants[node.input[2]]
        assert zero.dtype == np.int8 and not zero.any()
        assert (scale > 0).all() and scale.ndim == (1 if node.input[0].endswith(".weight") else 0)
    for conv in inner:
        name = conv.name
        assert constants[f"{name}.weight"].dtype == np.int8
        back = constants[f"{name}.weight"] * constants[f"{name}.weight.scale"][:, None, None, None]
        assert np.abs(back - plain[f"{name}.weight"]).max() < 0.03 * np.abs(plain[f"{name}.weight"]).max()
        assert np.array_equal(constants[f"{name}.bias"], plain[f"{name}.bias"])
    outer = {node.name for node in graph.node if node.op_type == "Conv"} - {node.name for node in inner}
    assert outer == {"base", "body_0"}  # they read the picture


def test_nodes_without_names_and_weights_that_are_shared(folder: Path) -> None:
    """As other people's files have them, in a network of three convolutions of which two are one."""
    from onnx import TensorProto, helper, numpy_helper

    from scripts.quantize import quantize

    random = np.random.default_rng(0)
    first, shared = (numpy_helper.from_array(random.normal(0, 0.2, (3, 3, 3, 3)).astype(np.float32), n) for n in "ab")
    nodes = [
        helper.make_node("Cast", ["frame"], ["levels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["levels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "a"], ["one"], pads=[1] * 4),
        helper.make_node("Conv", ["one", "b"], ["two"], pads=[1] * 4),
        helper.make_node("Conv", ["two", "b"], ["three"], pads=[1] * 4),
        helper.make_node("Transpose", ["three"], ["pixels"], perm=[0, 2, 3, 1]),
        helper.make_node("Clip", ["pixels", "black", "white"], ["limited"]),
        helper.make_node("Cast", ["limited"], ["sr"], to=TensorProto.UINT8),
    ]
    frame, sr = (helper.make_tensor_value_info(n, TensorProto.UINT8, [1, "H", "W", 3]) for n in ("frame", "sr"))
    limits = [numpy_helper.from_array(np.float32(v), n) for n, v in (("black", 0), ("white", 255))]
    graph = helper.make_graph(nodes, "three", [frame], [sr], [first, shared, *limits])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    made = quantize(model, [random.integers(0, 256, (16, 20, 3), np.uint8)]).graph
    assert [list(node.input)[:2] for node in made.node if node.op_type == "Conv"] == [
        ["planes", "a"], ["one_dq", "b_dq"], ["two_dq", "b_dq"],
    ]  # fmt: skip
    assert [constant.name for constant in made.initializer].count("b.scale") == 1


def test_photographs_are_chosen_from_all() -> None:
    from scripts.quantize import CALIBRATION_PICTURES, evenly_spaced

    def chosen(count: int) -> list[int]:
        return [
            int(picture[0, 0, 0]) for picture in evenly_spaced([np.full((1, 1, 3), n, np.uint16) for n in range(count)])
        ]

    assert chosen(300) == list(range(0, 300, 10))  # what the shipped files were made with
    assert chosen(7) == list(range(7))
    assert len(set(chosen(45))) == CALIBRATION_PICTURES and chosen(45)[-1] >= 43 and set(np.diff(chosen(45))) == {1, 2}


def test_what_cannot_be_quantised_is_refused(quantised: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from scripts.quantize import main

    data = ["--data", str(folder)]
    assert main([str(quantised), *data]) == 2
    assert "quantised already" in capsys.readouterr().err
    (folder / "text.onnx").write_text("no model at all")
    assert main([str(folder / "text.onnx"), *data]) == 2
    assert "is not an ONNX model" in capsys.readouterr().err
    assert main([str(folder / "missing.onnx"), *data]) == 2
    told = capsys.readouterr().err
    assert "missing.onnx cannot be read" in told and "photographs" not in told, "they are read for nothing"
    shutil.copy(catalog.find("fast-x2-fp32"), folder / "mine-x2.onnx")
    before = (folder / "mine-x2.onnx").read_bytes()
    for out, told in (
        ("mine-x2.onnx", "is the fp32 model itself"),
        ("mine-x3-int8.onnx", "is a wrong name for a network that enlarges 2 times"),
        ("mine-x2.onnx/int8-x2.onnx", "int8-x2.onnx cannot be written"),
    ):
        assert main([str(folder / "mine-x2.onnx"), *data, "--out", str(folder / out)]) == 2
        assert told in capsys.readouterr().err
    assert (folder / "mine-x2.onnx").read_bytes() == before
    assert not list(folder.glob("*int8-int8*"))
