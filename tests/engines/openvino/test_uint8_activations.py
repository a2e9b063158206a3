"""An int8 network uses whole bytes, on processors that add their products; other networks stay as they are."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from openvino import opset13 as ops

from app.sources.demo.camera import DemoCamera
from engines.base import Image
from engines.catalog import shipped as catalog
from engines.openvino import engine as openvino_engine
from engines.openvino import row_shuffle, uint8_activations
from tests.support.networks import picture_of

pytestmark = pytest.mark.integration

SIZE = (45, 31)
QUANTISED = [model for model in catalog.shipped() if model.precision == "int8"]


def network(path: Path) -> ov.Model:
    model = openvino_engine.read(path)
    openvino_engine.fit(model, path, SIZE)
    return model


def made(model: ov.Model, frame: Image) -> Image:
    compiled = openvino_engine.core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})
    return picture_of(compiled, frame)


@pytest.mark.parametrize("exact", [True, False], ids=["exact", "not exact"])
@pytest.mark.parametrize("model", QUANTISED, ids=[model.path.stem for model in QUANTISED])
def test_whole_bytes_are_used(model: catalog.ShippedModel, exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uint8_activations, "adds_exactly", lambda core: exact)
    changed = network(model.path)
    assert row_shuffle.apply(changed)
    # The first convolution, and for each row those of the picture's own path, or one that lays out its neighbours.
    paths = model.scale * (2 if "webcam" in model.path.stem else 1) if model.scale < uint8_activations.MIN_ROWS else 1
    expected = (1 + paths) * exact
    assert uint8_activations.apply(changed, openvino_engine.core()) == expected
    names = [node.get_friendly_name() for node in changed.get_ops() if levels_in(node) == ["FakeQuantize"] * 2]
    assert len(names) == expected and ("body_0/WithoutBiases" in names) is exact
    lows = [
        node.input_value(1).get_node().data
        for node in changed.get_ops()
        if node.get_type_name() == "FakeQuantize" and node.input_value(0).get_node().get_type_name() == "Relu"
    ]
    assert len(lows) >= 5 and not any(lows)


@pytest.mark.parametrize("model", QUANTISED, ids=[model.path.stem for model in QUANTISED])
def test_the_picture_stays_what_it_was(model: catalog.ShippedModel) -> None:
    smooth = np.random.default_rng(1).integers(0, 256, (4, 5, 3), np.uint8).repeat(8, 0).repeat(9, 1)
    frame = np.ascontiguousarray(smooth[: SIZE[1], : SIZE[0]])
    before, after = network(model.path), network(model.path)
    row_shuffle.apply(after)
    uint8_activations.apply(after, openvino_engine.core())
    error = made(before, frame).astype(float) - made(after, frame)
    assert 0 < (error**2).mean() < 2 and abs(error.mean()) < 0.2


@pytest.mark.parametrize("name", ["fast-x2", "balanced-x3", "quality-x4"])
def test_the_picture_comes_nearer_to_that_of_the_fp32_file(name: str) -> None:
    frame = DemoCamera(size=SIZE).picture(0)
    wanted = made(network(catalog.find(f"{name}-fp32")), frame).astype(float)
    before, after = (network(catalog.find(f"{name}-int8")) for _ in range(2))
    row_shuffle.apply(after)
    uint8_activations.apply(after, openvino_engine.core())
    errors = [((made(model, frame) - wanted) ** 2).mean() for model in (before, after)]
    assert 0 < errors[1] < 0.9 * errors[0]


@pytest.mark.parametrize("name", ["fast-x2", "fast-x3", "balanced-x4"])
def test_rows_are_mixed_of_bytes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uint8_activations, "adds_exactly", lambda core: True)
    frame = DemoCamera(size=SIZE).picture(0)
    mixed, apart = (network(catalog.find(f"{name}-int8")) for _ in range(2))
    for model in (mixed, apart):
        row_shuffle.apply(model)
        uint8_activations.apply(model, openvino_engine.core())
        monkeypatch.setattr(uint8_activations, "fuse_detail_add", lambda model: None)
    scale = catalog.scale_in(name) or 0
    roundings = [node for node in mixed.get_ops() if node.get_type_name() == "Round"]
    assert len(roundings) == (2 if scale == 2 else 0)
    error = made(mixed, frame).astype(float) - made(apart, frame)
    assert np.abs(error).max() <= 5 and abs(error.mean()) < 0.05
    assert (error**2).mean() < 0.5 and bool(error.any()) is (scale > 2)


@pytest.mark.parametrize(("factor", "mixed"), [(1.0, True), (1.05, True), (1.5, False), (-1.0, False)])
def test_only_what_is_added_to_a_picture_is_taken_for_a_detail(factor: float, mixed: bool) -> None:
    """It would be cut off at 102 grey levels."""
    model = network(catalog.find("fast-x4-int8"))
    row_shuffle.apply(model)
    rounding = next(node for node in model.get_ops() if node.get_type_name() == "Round")
    path = rounding.input_value(0).get_node().input_value(0).get_node().input_value(0).get_node()
    kernel = path.input_value(1).get_node().data * np.float32(factor)
    path.input(1).replace_source_output(ops.constant(kernel).output(0))
    assert bool(uint8_activations.row_of(rounding)) is mixed


@pytest.mark.parametrize(
    ("strides", "pads", "dilations", "expected"),
    [(1, 0, 1, True), (2, 0, 1, False), (1, 1, 1, False), (1, 0, 2, False)],
)
def test_a_convolution_with_anything_around_it_is_not_plain(
    strides: int, pads: int, dilations: int, expected: bool
) -> None:
    numbers, kernel = ops.parameter([1, 3, 9, 9], np.float32), np.ones((2, 3, 3, 3), np.float32)
    conv = ops.convolution(numbers, kernel, [strides] * 2, [pads] * 2, [pads] * 2, [dilations] * 2)
    assert uint8_activations.plain(conv) is expected


X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="these instructions are x86's")


@X86
@pytest.mark.parametrize("instructions", ["AVX2", "AVX512_CORE"])
def test_a_processor_that_adds_in_16_bits_is_found_out(instructions: str) -> None:
    code = (
        "from engines.openvino import engine, uint8_activations; print(uint8_activations.adds_exactly(engine.core()))"
    )
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": instructions}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert told.stdout.split() == ["False"], told.stderr


@X86
def test_a_processor_with_vnni_adds_exactly() -> None:
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    assert uint8_activations.adds_exactly(openvino_engine.core()) is bool(
        flags & {"avx512_vnni", "avx_vnni", "amx_int8"}
    )


def levels_in(node: ov.Node) -> list[str]:
    """What a convolution's picture and weights come out of, if it reads bytes."""
    if node.get_type_name() != "Convolution":
        return []
    picture, weights = (port.get_source_output().get_node() for port in node.inputs())
    if picture.get_type_name() != "Transpose":
        return []
    sources = [port.get_source_output().get_node() for port in picture.inputs()]
    return [sources[0].get_type_name(), weights.get_type_name()]


@pytest.mark.parametrize("name", ["fast-x2-fp32", "fast-x2-fp16", "fast-webcam-x2-fp32"])
def test_others_stay_as_they_are(name: str) -> None:
    model = network(catalog.find(name))
    assert row_shuffle.pad_before_convert(model) and uint8_activations.apply(model, openvino_engine.core()) == 0
    assert not [node for node in model.get_ops() if node.get_type_name() == "FakeQuantize"]


def test_edges_that_are_numbers_are_left() -> None:
    assert uint8_activations.apply(network(catalog.find("fast-x2-int8")), openvino_engine.core()) == 0


KERNELS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.just(3), st.just(3)),
    elements=st.floats(-2, 2, width=32),
)


@given(KERNELS)
def test_rounding_does_photographs_the_least_harm(kernel: NDArray[np.float32]) -> None:
    whole, step = uint8_activations.rounded(kernel)
    assert (whole == np.round(whole)).all() and np.abs(whole).max() <= uint8_activations.INT8
    exact = (kernel / step).reshape(len(kernel), -1).astype(float)
    moments = uint8_activations.patch_covariance(*kernel.shape[1:])

    def harm(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        error = numbers - exact
        total: NDArray[np.float64] = ((error @ moments) * error).sum(1)
        return total

    found = whole.reshape(exact.shape).astype(float)
    reached, slack = harm(found), moments[0, 0] * 1e-5
    assert (reached <= harm(np.round(exact)) + slack).all()
    for place, up in np.ndindex(exact.shape[1], 2):
        other = found.copy()
        other[:, place] += 2 * up - 1
        possible = np.abs(other).max(1) <= uint8_activations.INT8
        assert (harm(other) + slack >= reached)[possible].all()


def test_a_flat_area_comes_out_as_light_as_it_is() -> None:
    model = network(catalog.find("quality-x4"))
    kernel = next(node.data for node in model.get_ops() if node.get_friendly_name() == "base.weight")
    whole, step = uint8_activations.rounded(kernel)
    assert np.abs(whole).max() <= uint8_activations.INT8
    assert np.abs(255 * (whole * step - kernel).sum((1, 2, 3))).max() < 0.01
