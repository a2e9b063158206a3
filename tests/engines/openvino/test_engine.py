"""The OpenVINO engine: the contract of a model, sizes, order, the cache of compiled models, the end."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from onnx import helper

import engines
from engines.base import Image
from engines.catalog import shipped as catalog
from engines.errors import EngineError
from engines.request import EngineRequest, OpenVinoOptions
from tests.support.onnx_models import FLOATS, port, resizing, same, save
from tests.support.upscaling import upscaled

pytestmark = [pytest.mark.media, pytest.mark.integration]

ROOT = Path(__file__).parents[3]
SIZE = (32, 24)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def picture(size: tuple[int, int], seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


def refused(model: str, size: tuple[int, int] = SIZE) -> EngineError:
    with pytest.raises(EngineError) as told:
        engines.load(EngineRequest("openvino", model, size))
    assert told.value.problem.startswith(str(model)) and told.value.fix
    return told.value


@pytest.mark.parametrize(
    "content", [b"", b"no model at all " * 20, b"\x89PNG\r\n\x1a\n" + bytes(200)], ids=["empty", "text", "picture"]
)
def test_a_file_that_is_no_model(tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes) -> None:
    file = tmp_path / "some.onnx"
    file.write_bytes(content)
    refused(str(file))
    assert capfd.readouterr().err == "", "OpenVINO tells its own story beside ours"


def test_a_model_cut_short(tmp_path: Path) -> None:
    file = tmp_path / "cut.onnx"
    file.write_bytes(catalog.find("fast").read_bytes()[:20000])
    assert "is not an ONNX model" in refused(str(file)).problem


def test_other_inputs_and_outputs(tmp_path: Path) -> None:
    frame, sr = port("frame"), port("sr")
    two = save(tmp_path / "two.onnx", same("Max", "frame", "other"), [frame, port("other")], [sr])
    assert refused(two).facts == "it has 2 inputs"
    outs = [*same(), helper.make_node("Identity", ["frame"], ["more"])]
    assert refused(save(tmp_path / "outs.onnx", outs, [frame], [sr, port("more")])).facts == "it has 2 outputs"
    real = save(tmp_path / "float.onnx", same(), [port("frame", FLOATS)], [port("sr", FLOATS)])
    assert "its input is f32" in refused(real).facts
    cast = [helper.make_node("Cast", ["frame"], ["sr"], to=FLOATS)]
    assert "its output is f32" in refused(save(tmp_path / "out.onnx", cast, [frame], [port("sr", FLOATS)])).facts
    flat = save(tmp_path / "flat.onnx", same(), [port("frame", shape=("n",))], [port("sr", shape=("n",))])
    assert "its input is u8" in refused(flat).facts


def test_another_layout_or_size_is_not_forced_upon_a_model(tmp_path: Path) -> None:
    planes = save(
        tmp_path / "planes.onnx", same(), [port("frame", shape=(1, 3, "H", "W"))], [port("sr", shape=(1, 3, "H", "W"))]
    )
    assert "[1, 3, ?, ?], which cannot be [1, 24, 32, 3]" in refused(planes).facts
    for shape, only in (((1, 20, 40, 3), "40x20"), (("n", "h", 40, 3), "40xany height")):
        fixed = save(tmp_path / "fixed.onnx", same(), [port("frame", shape=shape)], [port("sr", shape=shape)])
        told = refused(fixed)
        assert told.problem.endswith(f"takes pictures of {only} only") and told.facts == "these are 32x24"
        assert "--size" in told.fix


def test_a_scale_that_is_no_whole_number(tmp_path: Path) -> None:
    assert "48x36 of 32x24" in refused(resizing(tmp_path / "half-x2.onnx", 1.5)).facts
    assert "288x216 of 32x24" in refused(resizing(tmp_path / "nine-x9.onnx", 9)).facts


@pytest.mark.parametrize("scale", [1, 3])
def test_any_model_of_the_contract_runs(tmp_path: Path, scale: int) -> None:
    image = picture(SIZE)
    wanted = image.repeat(scale, 0).repeat(scale, 1)
    model = resizing(tmp_path / f"repeat-x{scale}.onnx", scale)
    assert (upscaled(image, model) == wanted).all()


@pytest.mark.parametrize("file", ["fp32", "int8"])
@pytest.mark.parametrize("size", [(16, 16), (17, 16), (33, 47), (160, 91)])
def test_sizes_and_what_is_told_of_the_engine(size: tuple[int, int], file: str) -> None:
    with engines.load(
        EngineRequest("openvino", f"fast-x2-{file}", size, openvino=OpenVinoOptions(threads=1))
    ) as engine:
        spec = engine.spec
        assert (spec.name, spec.scale) == ("openvino", 2)
        assert spec.model == ("fast-x2-int8" if file == "int8" else "fast-x2")
        assert spec.output == (2 * size[0], 2 * size[1])
        assert "1 threads" in spec.device
        assert spec.precision in (("int8",) if file == "int8" else ("fp32", "bf16", "fp16"))
        engine.reserve()
        engine.submit(np.full((size[1], size[0], 3), (10, 128, 250), np.uint8), "tag")
        done = engine.collect(60)
        assert done is not None
        image, tag, busy = done
        assert image.shape == (2 * size[1], 2 * size[0], 3) and image.dtype == np.uint8 and image.flags.c_contiguous
        assert tag == "tag" and 0 < busy < 60
        # A flat picture stays flat and keeps its colour, at its edges too, and channels are not swapped.
        assert np.abs(image.astype(int) - (10, 128, 250)).max() <= 3


@pytest.mark.parametrize("size", [(1, 1), (15, 16), (20000, 20000), (4097, 16)])
def test_sizes_that_no_engine_takes(size: tuple[int, int]) -> None:
    with pytest.raises(EngineError, match=f"{size[0]}x{size[1]} cannot be upscaled"):
        engines.load(EngineRequest("openvino", "fast", size))


@pytest.mark.parametrize(("capabilities", "chosen"), [(["FP32", "INT8"], "fast-x2-int8"), (["FP32"], "fast-x2")])
def test_the_precision_follows_the_processor(
    capabilities: list[str], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engines.openvino import engine as openvino_engine

    class Core:
        """What OpenVINO tells of a processor."""

        def get_property(self, device: str, name: str) -> list[str]:
            assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
            return capabilities

    monkeypatch.setattr(openvino_engine, "core", Core)
    assert catalog.find("fast", openvino_engine.precisions()).stem == chosen
    assert catalog.find("fast-x2", openvino_engine.precisions()).stem == chosen
    assert catalog.find("fast-x2-fp32", openvino_engine.precisions()).stem == "fast-x2"


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_first_in_first_out_and_the_same_at_any_depth(depth: int) -> None:
    pictures = [picture(SIZE, seed) for seed in range(7)]
    wanted = [upscaled(one) for one in pictures]
    order = []
    with engines.load(EngineRequest("openvino", "fast", SIZE, depth=depth)) as engine:

        def submit() -> None:
            for number, one in enumerate(pictures):
                engine.reserve()
                engine.submit(one, number)
            engine.finish()

        submitter = threading.Thread(target=submit, daemon=True)
        submitter.start()
        while (done := engine.collect(60)) is not None:
            image, number, busy = done
            order.append(number)
            assert (image == wanted[number]).all() and busy > 0
        submitter.join(10)
    assert order == list(range(len(pictures)))


def test_a_late_collector_does_not_make_the_engine_look_slow() -> None:
    with engines.load(EngineRequest("openvino", "fast", (16, 16))) as engine:
        engine.reserve()
        engine.submit(np.zeros((16, 16, 3), np.uint8), "tag")
        time.sleep(5)
        done = engine.collect(60)
    assert done is not None and done[2] < 5


def test_no_thread_of_openvino_waits_for_python() -> None:
    """One that did so at the end of the process would abort it: a callback's GIL is taken after wait() has returned."""
    with engines.load(EngineRequest("openvino", "fast", (320, 180))) as engine:
        slot, before = engine.slot(0), sys.getswitchinterval()
        sys.setswitchinterval(1000)
        try:
            slot.launch(picture((320, 180)))
            begun = time.monotonic()
            while (held := time.monotonic()) < begun + 5:  # no other thread gets the GIL
                pass
        finally:
            sys.setswitchinterval(before)
        slot.wait(60)
        assert begun < slot.finished < held


def test_closes_with_frames_in_flight() -> None:
    for _ in range(3):
        with engines.load(EngineRequest("openvino", "fast", (320, 180), depth=3)) as engine:
            for number in range(3):
                engine.reserve()
                engine.submit(picture((320, 180)), number)


def test_an_engine_that_is_freed_leaves_no_threads_and_files_behind() -> None:
    def held() -> tuple[int, int]:
        upscaled(picture(SIZE), depth=2)
        gc.collect()
        return psutil.Process().num_threads(), psutil.Process().num_fds()

    threads, files = held()
    after = [held() for _ in range(5)][-1]
    assert after[0] <= threads and after[1] <= files


def test_a_signal_is_survived_whatever_engines_were_freed_before() -> None:
    """OpenVINO gives threads a stack for signals, and may take it away."""
    code = (
        "import engines, signal, os\n"
        "request = engines.EngineRequest('openvino', 'fast', (32, 24))\n"
        "older, newer = (engines.load(request) for _ in range(2))\n"
        "older.free(); del older\n"
        "newer.free(); del newer\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('heard', flush=True))\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_one_that_hangs_is_not_waited_for_at_the_end() -> None:
    from engines.openvino import engine as openvino_engine

    before = list(openvino_engine.abandoned_slots())
    engine = engines.load(EngineRequest("openvino", "quality", (640, 360), openvino=OpenVinoOptions(threads=1)))
    engine.slot(0).launch(picture((640, 360)))
    begun = time.monotonic()
    engine.free()
    closed = time.monotonic() - begun
    engine.slot(0).wait(60)
    assert openvino_engine.abandoned_slots() == [*before, engine.slot(0)] and closed < time.monotonic() - begun
    engine.free()
    assert openvino_engine.abandoned_slots() == [*before, engine.slot(0)], "by now it has come to its end"


def test_compiled_models_are_kept_and_a_damaged_one_is_made_anew(cache: Path) -> None:
    image = picture(SIZE)
    wanted = upscaled(image)
    (blob,) = cache.rglob("*.blob")
    for content in (b"", b"garbage", blob.read_bytes()[: blob.stat().st_size // 2]):
        mode = blob.stat().st_mode
        blob.chmod(0o600)  # OpenVINO makes it read-only, also for its owner
        blob.write_bytes(content)
        blob.chmod(mode)
        assert (upscaled(image) == wanted).all()


def test_an_unwritable_cache_is_no_hindrance(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache.write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert upscaled(picture(SIZE)).shape == (48, 64, 3)
    assert "without the cache" in caplog.text
