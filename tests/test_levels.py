"""Levels: the convolutions of an int8 network that read the picture read bytes; other networks stay as they are."""

from __future__ import annotations

from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines import catalog, levels, openvino, rows
from engines.base import Image

SIZE = (45, 31)
QUANTISED = [model for model in catalog.shipped() if model.precision == "int8"]


def network(path: Path) -> ov.Model:
    model = openvino.read(path)
    openvino.fit(model, path, SIZE)
    return model


def made(model: ov.Model, frame: Image) -> Image:
    compiled = openvino.core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})
    return np.array(compiled(frame[None])[0])


@pytest.mark.parametrize("model", QUANTISED, ids=[model.path.stem for model in QUANTISED])
def test_what_reads_the_picture_is_quantised(model: catalog.Model) -> None:
    smooth = np.random.default_rng(1).integers(0, 256, (4, 5, 3), np.uint8).repeat(8, 0).repeat(9, 1)
    frame = np.ascontiguousarray(smooth[: SIZE[1], : SIZE[0]])
    before, after = network(model.path), network(model.path)
    assert rows.apply(after)
    # The first convolution, and for each row those of the picture's own path.
    expected = 1 + model.scale * (2 if "webcam" in model.path.stem else 1)
    assert levels.apply(after) == expected
    names = [node.get_friendly_name() for node in after.get_ops() if levels_in(node) == ["FakeQuantize"] * 2]
    assert len(names) == expected and "body_0/WithoutBiases" in names
    error = made(before, frame).astype(float) - made(after, frame)
    assert 0 < (error**2).mean() < 2 and abs(error.mean()) < 0.2


def levels_in(node: ov.Node) -> list[str]:
    """What a convolution's picture and weights come out of, if it reads bytes."""
    if node.get_type_name() != "Convolution":
        return []
    picture, weights = (port.get_source_output().get_node() for port in node.inputs())
    sources = [port.get_source_output().get_node() for port in picture.inputs()]
    return [sources[0].get_type_name(), weights.get_type_name()]


@pytest.mark.parametrize("name", ["fast-x2-fp32", "fast-x2-fp16", "fast-webcam-x2-fp32"])
def test_others_stay_as_they_are(name: str) -> None:
    model = network(catalog.find(name))
    assert rows.edge(model) and levels.apply(model) == 0
    assert not [node for node in model.get_ops() if node.get_type_name() == "FakeQuantize"]


def test_edges_that_are_numbers_are_left() -> None:
    assert levels.apply(network(catalog.find("fast-x2-int8"))) == 0


KERNELS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.just(3), st.just(3)),
    elements=st.floats(-2, 2, width=32),
)


@given(KERNELS)
def test_rounding_does_photographs_the_least_harm(kernel: NDArray[np.float32]) -> None:
    whole, step = levels.rounded(kernel)
    assert (whole == np.round(whole)).all() and np.abs(whole).max() <= levels.LARGEST
    exact = (kernel / step).reshape(len(kernel), -1).astype(float)
    moments = levels.products(*kernel.shape[1:])

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
        possible = np.abs(other).max(1) <= levels.LARGEST
        assert (harm(other) + slack >= reached)[possible].all()


def test_a_flat_area_comes_out_as_light_as_it_is() -> None:
    model = network(catalog.find("quality-x4"))
    kernel = next(node.data for node in model.get_ops() if node.get_friendly_name() == "base.weight")
    whole, step = levels.rounded(kernel)
    assert np.abs(whole).max() <= levels.LARGEST
    assert np.abs(255 * (whole * step - kernel).sum((1, 2, 3))).max() < 0.01
