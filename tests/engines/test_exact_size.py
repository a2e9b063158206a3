"""Output sizes that no network makes: the arithmetic, and every engine, wrapped as the factory does it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import engines
from app.governor.driver import GovernorDriver
from app.system.sensors import Reading
from engines.base import Condition, Engine
from engines.exact_size import ResizedSlot, fitted_size, next_scale, resized, scaled_size
from engines.request import EngineRequest
from tests.support.onnx_models import resizing

SIZE, OUTPUT = (64, 48), (100, 76)


@pytest.mark.parametrize(
    ("size", "box", "expected"),
    [
        ((640, 480), (1920, 1080), (1440, 1080)),
        ((640, 360), (1920, 1080), (1920, 1080)),
        ((854, 480), (1920, 1080), (1920, 1080)),
        ((480, 640), (1920, 1080), (810, 1080)),
        ((1920, 1080), (1280, 1024), (1280, 720)),
        ((640, 480), (1367, 769), (1024, 768)),
    ],
)
def test_a_picture_fits_into_the_size_and_keeps_its_shape(
    size: tuple[int, int], box: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fitted_size(size, box) == expected


@given(st.tuples(st.integers(16, 4096), st.integers(16, 2160)), st.tuples(st.integers(64, 7680), st.integers(64, 4320)))
def test_it_is_even_inside_the_size_and_touches_it(size: tuple[int, int], box: tuple[int, int]) -> None:
    fitted = fitted_size(size, box)
    assert all(side % 2 == 0 and 2 <= side <= room for side, room in zip(fitted, box, strict=True))
    assert any(room - side <= 1 for side, room in zip(fitted, box, strict=True))
    factor = min(room // 2 * 2 / side for side, room in zip(size, box, strict=True))
    assert all(abs(side - factor * given) <= 2 for side, given in zip(fitted, size, strict=True))


def test_a_factor_gives_even_numbers() -> None:
    assert scaled_size((641, 361), 1.5) == (962, 542) and scaled_size((640, 360), 1.5) == (960, 540)


@pytest.mark.parametrize(
    ("size", "output", "scale"),
    [
        ((640, 360), (960, 540), 2),
        ((640, 360), (1280, 720), 2),
        ((641, 361), (1282, 722), 2),
        ((641, 361), scaled_size((641, 361), 3), 3),
        ((640, 360), (1282, 722), 3),
        ((640, 360), (6400, 3600), 4),
        ((1920, 1080), (1280, 720), 2),
    ],
)
def test_the_network_is_the_next_larger(size: tuple[int, int], output: tuple[int, int], scale: int) -> None:
    assert next_scale([4, 2, 3], size, output) == scale


@pytest.fixture
def model(tmp_path: Path) -> str:
    file = tmp_path / "net-x2.onnx"
    resizing(file, 2)
    return str(file)


def frame() -> Any:
    small = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    return np.ascontiguousarray(cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC))


def upscaled(engine: Engine[Any], image: Any) -> Any:
    engine.reserve()
    engine.submit(image, None)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            done = engine.collect(1)
            assert done is not None
            return done[0]
    pytest.fail("no picture")


@pytest.mark.parametrize("output", [OUTPUT, (200, 150), (48, 36)])
@pytest.mark.parametrize("name", ["openvino", "bicubic"])
def test_an_engine_of_this_process(name: str, output: tuple[int, int], model: str) -> None:
    with engines.load(EngineRequest(name=name, model=model, size=SIZE, output=output)) as engine:
        assert (engine.spec.input, engine.spec.output, engine.spec.scale) == (SIZE, output, 2)
        image = upscaled(engine, frame())
        assert image.shape == (output[1], output[0], 3)
        assert ("resize" in engine.stages) == (name == "openvino")
    area = cv2.INTER_AREA if output[0] < SIZE[0] else cv2.INTER_CUBIC
    assert cv2.PSNR(image, np.asarray(cv2.resize(frame(), output, interpolation=area), np.uint8)) > 25


def test_what_the_network_makes_already_is_not_copied(model: str) -> None:
    with engines.load(EngineRequest(name="openvino", model=model, size=SIZE, output=(128, 96))) as engine:
        upscaled(engine, frame())
        assert engine.spec.output == (128, 96) and not engine.stages
        assert resized(engine, None) is engine and not isinstance(engine.slot(0), ResizedSlot)


@pytest.mark.integration
def test_an_isolated_engine_and_bicubic_in_its_place(model: str) -> None:
    """The child resizes into the memory that it shares with this process."""
    request = EngineRequest(name="openvino", model=model, size=SIZE, output=OUTPUT, isolate=True, frame_timeout=20.0)
    with engines.load(request) as engine:
        assert engine.spec.output == OUTPUT
        seen = {}
        while Condition.OK not in seen:
            image = upscaled(engine, frame())
            assert image.shape == (OUTPUT[1], OUTPUT[0], 3)
            seen[engine.spec.state.condition] = image.copy()
        assert engine.spec.name == "openvino" and "resize" in engine.stages
    with engines.load(EngineRequest(name="openvino", model=model, size=SIZE, output=OUTPUT)) as plain:
        assert np.array_equal(seen[Condition.OK], upscaled(plain, frame()))


@pytest.mark.integration
def test_the_governors_models_all_have_it(tmp_path: Path, model: str) -> None:
    resizing(tmp_path / "other-x2.onnx", 2)
    request = EngineRequest(
        name="openvino", model=model, size=SIZE, output=OUTPUT, ladder=(str(tmp_path / "other-x2.onnx"), "bicubic")
    )
    driver = GovernorDriver(lambda: 30.0, Reading, hot=None)
    with engines.load(request, policy=driver) as engine:
        assert upscaled(engine, frame()).shape == (OUTPUT[1], OUTPUT[0], 3)
        assert engine.spec.output == OUTPUT and engine.spec.name == "openvino"


def test_a_request_travels_with_its_output() -> None:
    request = EngineRequest(name="auto", model="fast", size=SIZE, output=OUTPUT)
    assert EngineRequest.from_dict(request.as_dict()) == request
