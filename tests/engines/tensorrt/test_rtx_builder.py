"""The real builder of TensorRT-RTX on any machine: every shipped model, in every precision, really builds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from engines.catalog import shipped as catalog
from engines.cuda import driver
from engines.errors import EngineError, ModelError
from engines.request import EngineRequest
from engines.support.progress import BuildProgress
from engines.tensorrt import builder
from engines.tensorrt import engine as tensorrt_engine
from engines.tensorrt.sdk import unavailable
from scripts import build_engine
from scripts.conversion.wrapper import wrap
from tests.fakes.cuda import forget
from tests.support.onnx_models import FLOATS, network, port, resizing, same, save

ROOT = Path(__file__).parents[3]
SDK = ROOT / ".venv" / "sdk" / "rtx"
SIZE = (32, 24)
SIZES = [(640, 360), (1280, 720), (1920, 1080)]
CAPABILITIES = ["8.6", "8.9", "12.0"]

pytestmark = pytest.mark.sdk


@pytest.fixture(autouse=True)
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """TensorRT-RTX to be found, and a cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(SDK))
    forget()
    yield
    forget()
    sys.modules.pop("tensorrt_rtx", None)  # what it wraps stays loaded


MODELS = catalog.shipped()
HALF = catalog.find("fast-x2-fp16")


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.path.stem)
def test_every_model_builds(model: catalog.ShippedModel, size: tuple[int, int]) -> None:
    """For all capabilities in one plan, which takes no longer than for one of them."""
    plan = builder.build(model.path, size, BuildProgress(), capabilities=CAPABILITIES)
    assert len(plan.body) > 10_000
    assert plan.precision == model.precision


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_plan_for_one_capability(capability: str) -> None:
    assert len(builder.build(HALF, SIZES[0], BuildProgress(), capabilities=[capability]).body) > 10_000


def test_every_precision_is_among_them() -> None:
    assert {model.precision for model in MODELS} == {"fp32", "fp16", "int8"}


def refused(model: str, size: tuple[int, int] = SIZE) -> ModelError:
    with pytest.raises(ModelError) as told:
        builder.build(Path(model), size, BuildProgress(), capabilities=["8.6"])
    return told.value


def test_a_model_that_breaks_the_contract(tmp_path: Path) -> None:
    assert "48x36 of 32x24" in refused(resizing(tmp_path / "half-x2.onnx", 1.5)).facts
    frame, sr = port("frame"), port("sr")
    outs = [*same(), helper.make_node("Identity", ["frame"], ["more"])]
    assert refused(save(tmp_path / "outs.onnx", outs, [frame], [sr, port("more")])).facts == "it has 2 outputs"
    real = save(tmp_path / "float.onnx", same(), [port("frame", FLOATS)], [port("sr", FLOATS)])
    assert "its input is DataType.FLOAT" in refused(real).facts
    nodes = [
        helper.make_node("Cast", ["frame"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["f"], ["sr"], to=TensorProto.UINT8),
    ]
    fixed = [port(name, shape=(1, 20, 20, 3)) for name in ("frame", "sr")]
    told = refused(save(tmp_path / "fixed.onnx", nodes, fixed[:1], fixed[1:]))
    assert told.problem.endswith("takes pictures of 20x20 only") and told.facts == "these are 32x24"


def test_networks_of_other_projects_build(tmp_path: Path) -> None:
    """Padding, cropping, swapped colours and luma apart, as scripts/conversion/wrapper.py writes them."""
    styles: list[dict[str, Any]] = [
        {"multiple": 8, "lost": 6, "scale": 3},
        {"kind": TensorProto.FLOAT16, "multiple": 2},
        {"gains": (1,), "last": True, "multiple": 4},
        {"white": 255, "opset": 20, "size": SIZE[::-1]},
    ]
    for number, options in enumerate(styles):
        theirs, ours = network(tmp_path / "theirs.onnx", **options), tmp_path / f"{number}.onnx"
        wrap(theirs, ours, order=None if "gains" in options else "rgb")
        plan = builder.build(ours, SIZE, BuildProgress(), capabilities=["8.6"])
        assert plan.precision == ("fp16" if "kind" in options else "fp32")


def test_what_is_no_model(tmp_path: Path) -> None:
    for content in (b"", b"no model at all", catalog.find("fast-x2-fp32").read_bytes()[:20000]):
        (tmp_path / "some.onnx").write_bytes(content)
        with pytest.raises(EngineError, match=r"TensorRT cannot read|not an upscaling model"):
            builder.build(tmp_path / "some.onnx", SIZE, BuildProgress(), capabilities=["8.6"])


def test_an_operator_that_tensorrt_does_not_know(tmp_path: Path) -> None:
    model = onnx.load(catalog.find("fast-x2-fp32"))
    next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Unheard"
    onnx.save(model, tmp_path / "unheard-x2.onnx")
    with pytest.raises(EngineError, match="TensorRT cannot read"):
        builder.build(tmp_path / "unheard-x2.onnx", SIZE, BuildProgress(), capabilities=["8.6"])


def test_its_progress_and_its_end() -> None:
    stages: list[str] = []

    class Watched(BuildProgress):
        def stage(self, text: str) -> None:
            stages.append(text)

    ticks = 0
    done = threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.wait(0.002):
            ticks += 1

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    builder.build(HALF, (640, 360), Watched(), capabilities=["8.6"])
    done.set()
    ticker.join(5)
    assert any(text.startswith("Optimizing graph ") and "/" in text for text in stages)
    assert ticks > 3, "the builder holds the interpreter: a window would freeze"
    stopped = BuildProgress()
    stopped.cancel()
    with pytest.raises(EngineError, match="stopped"):
        builder.build(HALF, (640, 360), stopped, capabilities=["8.6"])


def test_a_gpu_it_cannot_build_for() -> None:
    with pytest.raises(EngineError, match=r"cannot build for 9\.0") as told:
        builder.build(catalog.find("fast"), SIZE, BuildProgress(), capabilities=["9.0"])
    assert "7.5, 8.0, 8.6, 8.9, 12.0" in told.value.facts


def test_no_dla_here() -> None:
    with pytest.raises(EngineError, match="no DLA core 0"):
        builder.build(catalog.find("fast"), SIZE, BuildProgress(), dla=0)


@pytest.mark.skipif(driver.missing() is None, reason="there is a GPU here; test_gpu.py uses it")
def test_without_a_driver_it_is_not_available() -> None:
    assert str(unavailable()).startswith("there is no NVIDIA driver")
    with pytest.raises(EngineError, match="The GPU cannot be used"):
        tensorrt_engine.load(EngineRequest("tensorrt", "fast", SIZE, depth=1))


def test_the_script_builds_lists_and_prunes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "plans")
    ahead = ["--ahead", "8.6", "--ahead", "12.0", "--size", "64x48", "--folder", folder]
    assert build_engine.main(["--model", "fast-x2-fp32", *ahead]) == 0
    assert build_engine.main(["--list", "--folder", folder]) == 0
    told = capsys.readouterr().out
    assert "compute capability 12.0" in told and "fast-x2            64x48      tensorrt_rtx 1." in told
    stale = next((tmp_path / "plans").glob("*.plan"))
    stale.write_bytes(stale.read_bytes().replace(b"tensorrt_rtx 1.", b"tensorrt_rtx 0."))
    assert build_engine.main(["--prune", "--folder", folder]) == 0
    assert f"deleted {stale.name}\n1 kept" in capsys.readouterr().out
    assert build_engine.main(["--ahead", "9.0", "--folder", folder]) == 1
    assert build_engine.main(["--model", "fats", "--ahead", "8.6", "--folder", folder]) == 1
    assert "Did you mean fast" in capsys.readouterr().err


@pytest.mark.integration
def test_ctrl_c_ends_a_build(tmp_path: Path) -> None:
    """Enough builds that the signal meets one."""
    sizes = [word for number in range(400) for word in ("--size", f"{640 + 2 * number}x360")]
    process = subprocess.Popen(
        [sys.executable, "scripts/build_engine.py", "--ahead", "8.6", "--folder", str(tmp_path), *sizes],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(SDK)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob("*.plan")):
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Loading the engine was stopped" in err and "Traceback" not in err
    assert not list(tmp_path.glob("*.part"))
