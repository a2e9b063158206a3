"""The strength of a network's detail: in every engine, at every frame, and in files and servers that know none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import engines
from app.sources.demo.camera import DemoCamera
from engines.base import Engine, Image, Spec, Strength
from engines.catalog import shipped as catalog
from engines.errors import ModelError
from engines.failover.candidates import Candidate
from engines.failover.engine import FailoverEngine
from engines.isolation import engine as isolation
from engines.openvino import engine as openvino_engine
from engines.openvino import self_check, uint8_activations
from engines.request import EngineRequest
from scripts.common.onnx_files import inputs_for
from tests.support import upscaling
from tests.support.networks import base_file, old_file, psnr_db
from tests.support.onnx_models import FLOATS, port, same, save

SIZE = (64, 48)
FRAME = DemoCamera(size=SIZE).picture(0)
SHIPPED = catalog.shipped()


def through(engine: Engine[Any], frame: Image = FRAME) -> Image:
    return upscaling.through(engine, frame)


def request_for(model: str | Path, **more: Any) -> EngineRequest:
    return EngineRequest("openvino", str(model), SIZE, **more)


@pytest.mark.parametrize("name", ["fast-x2-fp32", "fast-webcam-x2-fp32"])
def test_the_file_computes_what_it_did(name: str, tmp_path: Path) -> None:
    path = catalog.find(name)
    new, old, base = (onnx.load(one) for one in (path, old_file(path, tmp_path), base_file(path, tmp_path)))

    def made(model: onnx.ModelProto, strength: float = 1) -> Image:
        outputs = ReferenceEvaluator(model).run(None, inputs_for(model, FRAME[None, ::2, ::2], strength))
        image: Image = np.array(outputs)[0]
        return image

    assert (made(new) == made(old)).all() and (made(new, 0) == made(base)).all()
    assert not (made(new, 2) == made(new)).all()


@pytest.mark.parametrize("model", SHIPPED, ids=[model.path.stem for model in SHIPPED])
def test_shipped_files_take_it(model: catalog.ShippedModel) -> None:
    frame, strength = onnx.load(model.path).graph.input
    assert (frame.name, strength.name) == ("frame", "strength")
    assert strength.type.tensor_type.elem_type == FLOATS
    assert [axis.dim_value for axis in strength.type.tensor_type.shape.dim] == [1]


@pytest.mark.integration
@pytest.mark.parametrize("name", ["fast-x2-fp32", "fast-webcam-x2-fp32", "fast-x2-int8", "fast-x4-int8"])
def test_the_next_frame_has_it(name: str, tmp_path: Path) -> None:
    """At 0 the picture is that of a file without detail, at 1 that of the file as it was before there was a strength:
    to the bit in f32, and where 16 bits or bytes are rounded at another place, to one grey level."""
    path, strength = catalog.find(name), Strength()
    with engines.load(request_for(base_file(path, tmp_path))) as plain, engines.load(request_for(path)) as usual:
        base, trained = through(plain), through(usual)
        assert usual.spec.takes_strength and not plain.spec.takes_strength
    with engines.load(request_for(old_file(path, tmp_path))) as old:
        assert np.abs(through(old).astype(int) - trained).max() <= 1 and not old.spec.takes_strength
    with engines.load(request_for(path), strength=strength) as engine:
        pictures = []
        for strength.value in (1.0, 0.0, 2.0, 0.5, 1.0):
            pictures.append(through(engine).astype(int))
    first, none, double, half, last = pictures
    assert (first == trained).all() and (last == trained).all()
    # An int8 file without detail has nothing to be rewritten, and is rounded in another way.
    assert psnr_db(none, base) > 48 if name.endswith("int8") else np.abs(none - base).max() <= 1
    detail = np.abs(trained.astype(int) - none).mean()
    assert detail > 0.3
    assert np.abs(double - none).mean() == pytest.approx(2 * detail, rel=0.25)
    assert np.abs(half - none).mean() == pytest.approx(detail / 2, rel=0.25)


@pytest.mark.integration
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.9])
@pytest.mark.parametrize("name", ["fast-x2", "fast-webcam-x2", "fast-x3", "balanced-x4"])
def test_int8_follows_fp32_without_saturation(name: str, strength: float) -> None:
    """On print, whose detail is the largest there is: of a byte's 102 levels it would need 190."""
    page = np.full((SIZE[1], SIZE[0], 3), 235, np.uint8)
    page[::4] = page[:, ::6] = 20
    page[10:30, 10:40:2] = 0
    pictures = []
    for precision in ("fp32", "int8"):
        with engines.load(request_for(f"{name}-{precision}"), strength=Strength(strength)) as engine:
            pictures.append(through(engine, page).astype(float))
    with engines.load(request_for(f"{name}-fp32"), strength=Strength(1)) as engine:
        trained = through(engine, page).astype(float)
    with engines.load(request_for(f"{name}-int8"), strength=Strength(1)) as engine:
        usual = psnr_db(trained, through(engine, page))
    # Noise of rounding is multiplied along with the detail.
    assert psnr_db(*pictures) > usual - 20 * np.log10(max(1.0, strength)) - 1.5


@pytest.mark.integration
@pytest.mark.parametrize("strength", [0.0, 0.7, 1.0, 2.0])
@pytest.mark.parametrize("name", ["fast-x2", "balanced-webcam-x2", "fast-x3", "fast-x4"])
def test_the_rewritten_graph_is_right_at_every_strength(name: str, strength: float) -> None:
    path, core, rewriting = catalog.find(f"{name}-int8"), openvino_engine.core(), openvino_engine.default_rewriting()
    plain = openvino_engine.read(path)
    openvino_engine.fit(plain, path, self_check.SIZE)
    assert rewriting.apply_wide is not None
    rewrite: Callable[[Any], object] = rewriting.apply if strength <= 1 else rewriting.apply_wide
    assert self_check.agreement_db(core, plain, rewrite, {}, strength) > self_check.LEAST_DB


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "another"), [("fast-x2-int8", False), ("fast-x3-int8", True), ("fast-x3-fp32", False)]
)
def test_only_where_bytes_hold_the_detail_there_is_another_graph(
    name: str, another: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uint8_activations, "adds_exactly", lambda core: True)
    path = catalog.find(name)
    network = openvino_engine.read(path)
    openvino_engine.fit(network, path, SIZE)
    apply_wide = openvino_engine.default_rewriting().apply_wide
    assert apply_wide is not None and apply_wide(network) is another


@pytest.mark.parametrize(
    ("name", "kind", "shape"), [("strength", FLOATS, (2,)), ("strength", FLOATS, ()), ("other", FLOATS, (1,))]
)
def test_another_second_input_is_refused(tmp_path: Path, name: str, kind: int, shape: tuple[int, ...]) -> None:
    nodes = [*same(), onnx.helper.make_node("Identity", [name], ["unused"])]
    path = save(tmp_path / "odd-x2.onnx", nodes, [port("frame"), port(name, kind, shape)], [port("sr")])
    with pytest.raises(ModelError, match="not an upscaling model") as told:
        engines.load(request_for(path))
    assert "2 inputs" in told.value.facts and "`strength`, float32 [1]" in told.value.fix


def test_bicubic_takes_none() -> None:
    with engines.load(EngineRequest("bicubic", "fast", SIZE), strength=Strength(0)) as engine:
        assert not engine.spec.takes_strength and through(engine).any()


@pytest.mark.integration
def test_it_crosses_into_a_process_with_each_frame() -> None:
    strength = Strength()
    expected = {}
    with engines.load(request_for("fast-x2-int8"), strength=strength) as engine:
        for strength.value in (0.0, 1.0, 1.7):
            expected[strength.value] = through(engine)
    with isolation.load(request_for("fast-x2-int8", depth=2), strength=strength) as isolated:
        assert isolated.spec.takes_strength
        for value in (1.7, 0.0, 1.0):
            strength.value = value
            isolated.reserve()
            isolated.submit(FRAME, value)
            strength.value = 1.3  # too late for the frame that is on its way
            done = isolated.collect(60)
            assert done is not None and (done[0] == expected[value]).all()


@pytest.mark.integration
def test_an_engine_that_takes_over_has_it_too() -> None:
    strength = Strength(0.0)
    with engines.load(request_for("fast-x2-int8"), strength=strength) as engine:
        base = through(engine)
    choice = Candidate("openvino", partial(engines.load, request_for("fast-x2-int8"), strength=strength), 60)
    with FailoverEngine[Any]([choice], SIZE, scale=None, depth=2) as failover:
        assert (through(failover) == base).all()
        prepared = failover.prepare([choice])  # as the governor does with another model
        strength.value = 1.0
        before = failover.swap(prepared)
        assert not (through(failover) == base).all()
        strength.value = 0.0
        failover.drop(failover.swap(before))
        assert (through(failover) == base).all()


@pytest.mark.integration
def test_the_governors_models_share_it() -> None:
    class Up:
        """A policy that goes to the larger model as soon as that is there."""

        def begin(self, rungs: Any, index: int) -> None: ...
        def decide(self, index: int, busy: float | None) -> int:
            return 1

        def accepts(self, index: int, seconds: float) -> bool:
            return True

        def failed(self, index: int, error: Exception) -> None: ...
        def stepped(self, index: int) -> None: ...

    strength = Strength(0.0)
    with engines.load(request_for("balanced-x2-int8"), strength=strength) as engine:
        wanted: Spec = engine.spec
        base = through(engine)
    request = request_for("fast", ladder=("fast", "balanced"))
    with engines.load(request, policy=Up(), strength=strength) as switching:
        for _ in range(3000):
            picture = through(switching)
            if switching.spec.model == wanted.model:
                break
        assert switching.spec.model == wanted.model and (picture == base).all()
