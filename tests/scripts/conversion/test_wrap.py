"""Networks of somebody else's under the contract: what is found of them, what they then compute, what is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import engines
from engines.base import Image
from engines.catalog import shipped as catalog
from engines.errors import ModelError
from engines.request import EngineRequest
from scripts.conversion import wrapper as wrapping
from scripts.conversion.colour_probe import psnr
from scripts.conversion.third_party import WrapError
from scripts.conversion.wrapper import wrap
from scripts.export import main
from tests.support.onnx_models import FLOATS, FLOOR, GAINS, HALVES, network, port
from tests.support.program import run
from tests.support.upscaling import upscaled

if TYPE_CHECKING:
    from torch import nn

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def made(picture: Image, *, scale: int, order: str = "rgb") -> Image:
    """What such a network makes of `picture`, BGR, if it is given its colours in `order`."""
    gains = np.array(GAINS if order == "bgr" else GAINS[::-1])
    levels = np.clip(picture, FLOOR * 255, 255) * gains
    return np.asarray(np.round(levels).repeat(scale, 0).repeat(scale, 1), np.uint8)


def close(given: Image, wanted: Image) -> bool:
    """Equal within what a processor that computes in bf16 makes of it: 8 bits at each of a few steps."""
    return given.shape == wanted.shape and bool(np.abs(given.astype(int) - wanted).max() <= 4)


def noise(width: int, height: int) -> Image:
    return np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)


def told(file: Path) -> dict[str, str]:
    return {p.key: p.value for p in onnx.load(file).metadata_props}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.sampled_from(["rgb", "bgr"]),
    white=st.sampled_from([1, 255]),
    scale=st.integers(1, 8),
    multiple=st.sampled_from([1, 2, 3, 7, 8, 64]),
    lost=st.sampled_from([0, 0, 2, 14]),
    last=st.booleans(),
    kind=st.sampled_from([FLOATS, FLOATS, HALVES]),
    width=st.integers(16, 40),
    height=st.integers(16, 40),
)
def test_whatever_it_wants_is_found_and_met(
    tmp_path: Path, order: str, white: int, scale: int, multiple: int, lost: int, last: bool, kind: int, width: int,
    height: int,
) -> None:  # fmt: skip
    theirs = network(
        tmp_path / "theirs.onnx", white=white, scale=scale, multiple=multiple, lost=lost, last=last, kind=kind
    )
    ours = tmp_path / f"ours-x{scale}.onnx"
    wrap(theirs, ours, order=order)
    found = told(ours)
    assert (found["scale"], found["range"], found["order"]) == (str(scale), str(white), order)
    assert found["multiple"] == str(multiple)
    picture = noise(width, height)
    assert close(upscaled(picture, str(ours)), made(picture, scale=scale, order=order))


def test_padding_repeats_the_edges(tmp_path: Path) -> None:
    """A blur without padding of its own, in blocks of 4: what it sees beyond the edge is the edge."""
    box = numpy_helper.from_array(np.full((3, 1, 3, 3), 1 / 9, np.float32), "box")
    nodes = [
        helper.make_node("SpaceToDepth", ["x"], ["folded"], blocksize=4),
        helper.make_node("DepthToSpace", ["folded"], ["again"], blocksize=4),
        helper.make_node("Conv", ["again", "box"], ["y"], group=3),
    ]
    ports = [helper.make_tensor_value_info(name, FLOATS, [1, 3, None, None]) for name in "xy"]
    graph = helper.make_graph(nodes, "blur", ports[:1], ports[1:], [box])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "a.onnx")
    wrap(tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert told(tmp_path / "b.onnx") == told(tmp_path / "b.onnx") | {"multiple": "4", "scale": "1", "order": "bgr"}
    picture = noise(21, 18)
    wanted = cv2.blur(picture, (3, 3), borderType=cv2.BORDER_REPLICATE)
    assert close(upscaled(picture, str(tmp_path / "b.onnx")), np.asarray(wanted, np.uint8))


@pytest.mark.parametrize("last", [False, True])
def test_a_network_of_luma_keeps_the_colours(tmp_path: Path, last: bool) -> None:
    theirs = network(tmp_path / "theirs.onnx", gains=(1,), scale=3, last=last, multiple=2)
    assert "--order" not in wrap(theirs, tmp_path / "ours.onnx")
    said = wrap(theirs, tmp_path / "ours.onnx", order="rgb").splitlines()
    assert "luma" in said[0] and "--order rgb was ignored" in said[-1]
    picture = noise(25, 17)
    ycc = cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb).astype(np.float32)
    large = cv2.resize(ycc, (75, 51), interpolation=cv2.INTER_CUBIC)
    large[..., 0] = np.clip(ycc[..., 0], FLOOR * 255, 255).repeat(3, 0).repeat(3, 1)
    y, red, blue = large[..., 0], large[..., 1] - 128, large[..., 2] - 128  # OpenCV's formulas
    wanted = np.stack([y + 1.773 * blue, y - 0.714 * red - 0.344 * blue, y + 1.403 * red], -1)
    error = np.abs(upscaled(picture, str(tmp_path / "ours.onnx")).astype(float) - np.clip(wanted, 0, 255))
    assert error.max() <= 8 and error.mean() < 1


def test_a_network_of_one_size_keeps_it(tmp_path: Path) -> None:
    theirs = network(tmp_path / "theirs.onnx", size=(24, 32), batch=1)
    line = wrap(theirs, tmp_path / "ours-x2.onnx", order="rgb")
    assert "32x24 only" in line
    picture = noise(32, 24)
    assert close(upscaled(picture, str(tmp_path / "ours-x2.onnx")), made(picture, scale=2))
    with pytest.raises(ModelError, match="takes pictures of 32x24 only"):
        engines.load(EngineRequest("openvino", str(tmp_path / "ours-x2.onnx"), (33, 24)))
    half = network(tmp_path / "half.onnx", size=(24, "w"), multiple=4)
    assert "anyx24 only" in wrap(half, tmp_path / "half-x2.onnx", order="rgb").replace("any width", "any")
    picture = noise(33, 24)
    assert close(upscaled(picture, str(tmp_path / "half-x2.onnx")), made(picture, scale=2))


def test_an_order_that_makes_no_difference_is_not_asked_for(tmp_path: Path) -> None:
    wrap(network(tmp_path / "theirs.onnx", gains=(1, 1, 1)), tmp_path / "ours.onnx")
    assert told(tmp_path / "ours.onnx")["order"] == "bgr"  # as it comes: it costs nothing
    wrap(plain(tmp_path / "theirs.onnx", ("Mul", 1)), tmp_path / "ours.onnx")  # neither does the range here
    assert (upscaled(noise(20, 17), str(tmp_path / "ours.onnx")) == noise(20, 17)).all()
    with pytest.raises(WrapError, match="cannot be detected in which format") as asked:
        wrap(network(tmp_path / "theirs.onnx"), tmp_path / "none.onnx")
    assert "--order rgb" in asked.value.fix and "--range" not in asked.value.fix
    assert not (tmp_path / "none.onnx").exists()


def test_names_opsets_and_weights_elsewhere(tmp_path: Path) -> None:
    picture = noise(20, 17)
    for opset in (9, 13, 20, 22):
        theirs = network(tmp_path / "theirs.onnx", names=("frame", "sr"), opset=opset)
        wrap(theirs, tmp_path / "ours.onnx", order="rgb")
        model = onnx.load(tmp_path / "ours.onnx")
        assert model.opset_import[0].version == (opset if opset in (13, 20) else 17)
        assert close(upscaled(picture, str(tmp_path / "ours.onnx")), made(picture, scale=2))
    outside: dict[str, Any] = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(onnx.load(theirs), tmp_path / "outside.onnx", **outside)
    wrap(tmp_path / "outside.onnx", tmp_path / "ours.onnx", order="rgb")
    (tmp_path / "weights.bin").unlink()
    assert close(upscaled(picture, str(tmp_path / "ours.onnx")), made(picture, scale=2))
    with pytest.raises(WrapError, match="weights"):
        wrap(tmp_path / "outside.onnx", tmp_path / "ours.onnx", order="rgb")


def test_the_file_keeps_to_what_tensorrt_reads(tmp_path: Path) -> None:
    wrap(network(tmp_path / "theirs.onnx", multiple=8), tmp_path / "ours.onnx", order="rgb")
    model = onnx.load(tmp_path / "ours.onnx")
    onnx.checker.check_model(model, full_check=True)
    nodes = model.graph.node
    assert [node.op_type for node in nodes if "frame" in node.input] == ["Cast"]
    assert nodes[-1].op_type == "Cast" and list(nodes[-1].output) == ["sr"]
    assert [d.dim_param or d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [
        1, "2*H", "2*W", 3,
    ]  # fmt: skip
    assert told(tmp_path / "ours.onnx")["wrapped"] == "theirs.onnx"


def test_it_runs_in_the_app_and_in_a_process_of_its_own(tmp_path: Path) -> None:
    theirs, ours = network(tmp_path / "theirs.onnx", multiple=8), tmp_path / "ours-x2.onnx"
    code = "import sys; sys.modules['torch'] = None; from scripts.export import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["--wrap", str(theirs), str(ours), "--order", "rgb", "--scale", "2"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "x2, rgb, 0..1, any size (padded to multiples of 8)" in done.stdout
    common = ["--source", "demo", "--size", "50x36", "--headless", "--frames", 5, "--model", ours]
    for more in ((), ("--isolate",)):
        shown = run(*common, *more)
        assert shown.returncode == 0, shown.stderr


def test_a_checkpoint_needs_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    assert main([str(tmp_path / "checkpoint.pt"), str(tmp_path / "none.onnx")]) == 2
    assert "PyTorch is not installed" in capsys.readouterr().err


def save(path: Path, nodes: list[onnx.NodeProto], inputs: list[Any], outputs: list[Any], *constants: Any) -> Path:
    graph = helper.make_graph(nodes, "made", inputs, outputs, list(constants))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def planes(name: str, kind: int = FLOATS, shape: tuple[int | str, ...] = (1, 3, "h", "w")) -> onnx.ValueInfoProto:
    return port(name, kind, shape)


def plain(path: Path, *steps: tuple[str, float], shape: tuple[int | str, ...] = (1, 3, "h", "w")) -> Path:
    """A network of arithmetic with numbers, such as ("Mul", 3), and operators of one input."""
    nodes, constants, flow = [], [], "x"
    for number, (op, value) in enumerate(steps):
        inputs = [flow] if op in ("Round", "Tanh", "Nonsense") else [flow, f"c{number}"]
        constants.append(numpy_helper.from_array(np.float32(value), f"c{number}"))
        nodes.append(helper.make_node(op, inputs, [flow := f"f{number}"]))
    nodes[-1].output[:] = ["y"]
    return save(path, nodes, [planes("x", shape=shape)], [planes("y", shape=shape)], *constants)


def two_inputs(path: Path) -> Path:
    return save(path, [helper.make_node("Add", ["a", "b"], ["y"])], [planes("a"), planes("b")], [planes("y")])


def two_outputs(path: Path) -> Path:
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])]
    return save(path, nodes, [planes("x")], [planes("y"), planes("z")])


def whole_numbers(path: Path) -> Path:
    ports = [planes("x", TensorProto.INT32)], [planes("y", TensorProto.INT32)]
    return save(path, [helper.make_node("Identity", ["x"], ["y"])], *ports)


def to_luma(path: Path) -> Path:
    weight = numpy_helper.from_array(np.full((1, 3, 1, 1), 1 / 3, np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    return save(path, [node], [planes("x")], [planes("y", shape=(1, 1, "h", "w"))], weight)


def posterised(path: Path) -> Path:
    """7 steps from -1 to 1, which are 4 from 0 to 1."""
    return plain(path, ("Max", -1), ("Min", 1), ("Mul", 3), ("Round", 0), ("Div", 3))


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "is not an ONNX model"),
    "text": (lambda path: path.write_text("no model at all " * 9), "is not an ONNX model"),
    "missing": (lambda path: None, "There is no file"),
    "contract": (lambda path: path.write_bytes(catalog.find("fast").read_bytes()), "needs no wrapping"),
    "inputs": (two_inputs, "it has 2 inputs: a, b"),
    "outputs": (two_outputs, "it has 2 outputs: y, z"),
    "int32": (whole_numbers, "its input is INT32"),
    "batch": (lambda path: plain(path, ("Mul", 1), shape=(4, 3, "h", "w")), "its input is [4, 3, ?, ?]"),
    "rank": (lambda path: plain(path, ("Mul", 1), shape=(3, "h", "w")), "its input is [3, ?, ?]"),
    "channels": (lambda path: plain(path, ("Mul", 1), shape=(1, 4, "h", "w")), "3 channels, or 1 of luma"),
    "to luma": (to_luma, "it makes [1, "),
    "unknown operator": (lambda path: plain(path, ("Nonsense", 1)), "plain ONNX operators"),
    "half as large again": (lambda path: network(path, scale=1.5), "none of the sizes"),
    "nine times": (lambda path: network(path, scale=9), "none of the sizes"),
    "nine times, one size": (lambda path: network(path, scale=9, size=(16, 16)), "it makes 144x144 of 16x16"),
    "cut off, one size": (lambda path: network(path, lost=4, size=(16, 16)), "it makes 28x28 of 16x16"),
    "multiples of 100": (lambda path: network(path, multiple=100), "--multiple N"),
    "-1 to 1": (posterised, "takes values from -1 to 1"),
    "from 0 to 1 to -1 to 1": (lambda path: plain(path, ("Mul", 2), ("Sub", 1)), "in any way that was tried"),
    "a negative": (lambda path: plain(path, ("Mul", -1), ("Add", 1)), "give both --order and --range"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_wrapped_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    write, words = REFUSED[name]
    write(tmp_path / "theirs.onnx")
    assert main(["--wrap", str(tmp_path / "theirs.onnx"), str(tmp_path / "ours.onnx")]) == 2
    said = capsys.readouterr().err
    assert words in said and "theirs.onnx" in said
    assert not (tmp_path / "ours.onnx").exists()


@pytest.mark.parametrize(("lost", "first"), [(4, 0), (4, 4), (2, 0), (3, 0), (4, 1)])
def test_what_is_lost_on_one_side_is_seen_even_if_all_is_told(tmp_path: Path, lost: int, first: int) -> None:
    """Otherwise the picture would be shifted."""
    theirs, ours = network(tmp_path / "theirs.onnx", lost=lost, first=first), tmp_path / "ours.onnx"
    with pytest.raises(WrapError, match="more of a picture on one side"):
        wrap(theirs, ours, order="rgb", white=1)
    wrap(network(theirs, lost=3, first=1), ours, order="rgb", white=1)  # an odd number cannot be halved


def test_a_network_that_is_changed_by_its_conversion_is_refused_for_that(tmp_path: Path) -> None:
    with pytest.raises(WrapError, match="is not the original") as refused:
        wrap(network(tmp_path / "theirs.onnx", opset=9, mode="linear"), tmp_path / "ours.onnx", order="rgb")
    assert "from opset 9 to 17" in refused.value.fix and "--multiple" not in refused.value.fix


def test_a_name_that_tells_another_scale_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="wrong name for a network that enlarges 2 times") as refused:
        wrap(network(tmp_path / "theirs.onnx"), tmp_path / "ours-x3.onnx", order="rgb")
    assert refused.value.fix == "Call it ours-x2.onnx." and not (tmp_path / "ours-x3.onnx").exists()


def test_what_is_told_is_believed(tmp_path: Path) -> None:
    """A negative is no enlarged picture; who says how it wants its colours must know."""
    theirs = plain(tmp_path / "theirs.onnx", ("Mul", -1), ("Add", 1))
    wrap(theirs, tmp_path / "ours.onnx", order="rgb", white=1)
    picture = noise(20, 16)
    assert close(upscaled(picture, str(tmp_path / "ours.onnx")), 255 - picture)
    wrap(network(theirs, multiple=100), tmp_path / "ours.onnx", order="rgb", multiple=100)
    assert close(upscaled(picture, str(tmp_path / "ours.onnx")), made(picture, scale=2))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--scale", "3"], "enlarges 2 times, not 3"),
        (["--multiple", "4"], "none of the sizes"),
        (["--multiple", "0"], "--multiple must be from 1"),
        (["--range", "2"], "invalid choice"),
    ],
)
def test_options_that_do_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    theirs, ours = network(tmp_path / "theirs.onnx", multiple=8), tmp_path / "ours.onnx"
    try:
        status = main(["--wrap", str(theirs), str(ours), *options])
    except SystemExit as ended:  # argparse's own
        status = int(str(ended.code))
    assert status == 2 and words in capsys.readouterr().err and not ours.exists()


def test_options_and_targets_that_make_no_sense(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = network(tmp_path / "theirs.onnx", gains=(1, 1, 1))
    with pytest.raises(SystemExit):
        main([str(theirs), "b.onnx", "--order", "rgb"])
    assert "need --wrap" in capsys.readouterr().err
    with pytest.raises(WrapError, match="would be overwritten"):
        wrap(theirs, theirs)
    with pytest.raises(WrapError, match="cannot be written"):
        wrap(theirs, tmp_path / "none" / "ours.onnx")
    with pytest.raises(WrapError, match="cannot be written"):
        wrap(theirs, Path())
    with pytest.raises(WrapError, match="There is no file"):
        wrap(tmp_path / "missing.onnx", theirs)


def test_a_result_that_differs_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = wrapping.prepare

    def wrong(*arguments: Any) -> onnx.ModelProto:
        model = right(*arguments)
        gains = next(c for c in model.graph.initializer if list(c.dims) == [3, 1, 1])
        gains.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(gains) * np.float32(0.98), gains.name))
        return model

    monkeypatch.setattr(wrapping, "prepare", wrong)
    with pytest.raises(WrapError, match="the result is not the original"):
        wrap(network(tmp_path / "theirs.onnx"), tmp_path / "ours.onnx", order="rgb")
    assert not (tmp_path / "ours.onnx").exists()


def exported(net: nn.Module, path: Path) -> Path:
    """By PyTorch's older exporter, the way other projects do it: any height and width."""
    import torch

    axes = {name: {0: "batch", 2: "height", 3: "width"} for name in ("input", "output")}
    names: dict[str, Any] = {"input_names": ["input"], "output_names": ["output"], "dynamic_axes": axes}
    torch.onnx.export(net.eval(), (torch.rand(1, 3, 64, 80),), path, dynamo=False, **names)
    return path


def by_torch(net: nn.Module, picture: Image, white: int) -> NDArray[np.int64]:
    """What the network makes of a picture, RGB in the range 0..white, by PyTorch."""
    import torch

    values = torch.from_numpy(picture[..., ::-1].copy()).permute(2, 0, 1)[None] / 255 * white
    with torch.inference_mode():
        levels = net(values)[0].permute(1, 2, 0) / white * 255
    return np.asarray(levels.round().clamp(0, 255).numpy()[..., ::-1]).astype(int)


@pytest.mark.torch
@pytest.mark.parametrize("style", ["compact", "deconvolution", "windows"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:Converting a tensor")
def test_what_pytorch_exports(tmp_path: Path, style: str) -> None:
    """Networks as other people build them; the picture stays the same as theirs to within the processor's arithmetic.

    A compact one with PReLU and a repeated picture added (Real-ESRGAN's, x4), one on 0..255 with a transposed
    convolution at its end (FSRCNN's, x2), one with attention in windows after a folding by 2 (multiples of 16, x2).
    """
    import torch

    from tests.support.torch_networks import STYLES

    make, white, scale, multiple = STYLES[style]
    torch.manual_seed(0)
    net = make()
    ours = tmp_path / "ours.onnx"
    wrap(exported(net, tmp_path / "theirs.onnx"), ours, order="rgb", white=white)
    assert told(ours)["multiple"] == str(multiple) and told(ours)["scale"] == str(scale)
    picture = np.asarray(cv2.resize(noise(8, 6), (64, 48)), np.uint8)
    error = np.abs(upscaled(picture, str(ours)) - by_torch(net, picture, white))
    assert error.mean() < 1 and error.max() <= 12


def test_what_pytorch_exports_anew(tmp_path: Path) -> None:
    """The network of windows by the newer exporter of PyTorch 2.13: torch.onnx.export(dynamo=True), opset 20.

    As a file, less what it notes of the source code: that exporter takes 10 seconds to import.
    """
    ours = tmp_path / "ours.onnx"
    wrap(Path(__file__).parents[2] / "data/windows-dynamo.onnx", ours, order="rgb", white=1)
    assert told(ours)["multiple"] == "16" and told(ours)["scale"] == "2"
    picture = np.asarray(cv2.resize(noise(8, 6), (70, 50), interpolation=cv2.INTER_CUBIC), np.uint8)
    plain = cv2.resize(picture, (140, 100), interpolation=cv2.INTER_LINEAR)
    assert psnr(upscaled(picture, str(ours)), np.asarray(plain, np.uint8)) > 30
