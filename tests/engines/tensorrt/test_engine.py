"""The TensorRT engine from its loading to its failures, over the lazy CUDA; the real builder is in test_rtx.py."""

from __future__ import annotations

import enum
import json
import logging
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import engines
from engines.catalog import shipped as catalog
from engines.cuda import driver, slot
from engines.errors import EngineError, ModelError
from engines.failover.candidates import Candidate
from engines.failover.engine import FailoverEngine
from engines.request import EngineRequest, Memory, TensorRtOptions
from engines.slot_engine import SlotEngine
from engines.support.progress import BuildProgress
from engines.tensorrt import builder
from engines.tensorrt import engine as tensorrt_engine
from engines.tensorrt.plan_cache import PlanCache
from scripts import build_engine
from tests.fakes.cuda import Library, Machine, forget, install
from tests.fakes.cuda_scheduler import MODEL, SIZE, check_clean, pictures
from tests.support.clips import encode
from tests.support.stages import stage_medians


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache folder of the test's own; the SDKs are forgotten afterwards."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    yield tmp_path
    forget()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(random.Random(3).randrange)
    install(monkeypatch, made)
    return made


def through(engine: Any) -> Any:
    engine.reserve()
    engine.submit(pictures()[0][0], "tag")
    done = engine.collect(5)
    assert done is not None and done[1] == "tag"
    return done[0]


def one_frame(engine: Any) -> None:
    assert (through(engine) == pictures()[0][1]).all()


def test_what_is_told_of_it(machine: Machine) -> None:
    with engines.load(EngineRequest("tensorrt", MODEL, SIZE, depth=2)) as engine:
        spec = engine.spec
        assert (spec.name, spec.model, spec.scale, spec.output) == ("tensorrt", "fast-x2", 2, (32, 32))
        assert spec.device == "Lazy, copied memory" and spec.precision == "fp32"
        one_frame(engine)
        assert set(engine.stages) == {"copy in", "inference", "copy out"}
        assert all(seconds > 0 for seconds in engine.stages.values())
    check_clean(machine)


@pytest.mark.parametrize("memory", ["copy", "mapped"])
def test_an_exact_size_is_made_on_the_host(machine: Machine, memory: Memory) -> None:
    request = EngineRequest("tensorrt", MODEL, SIZE, output=(24, 24), tensorrt=TensorRtOptions(memory=memory))
    with engines.load(request) as engine:
        assert (engine.spec.scale, engine.spec.output) == (2, (24, 24))
        made = through(engine)
        assert (made == cv2.resize(pictures()[0][1], (24, 24), interpolation=cv2.INTER_AREA)).all()
        assert set(engine.stages) == {"copy in", "inference", "copy out", "resize"}
    check_clean(machine)


def test_its_stages_are_told_behind_a_standby(machine: Machine) -> None:
    choice = Candidate("tensorrt", partial(engines.load, EngineRequest("tensorrt", MODEL, SIZE)))
    with FailoverEngine[str]([choice], SIZE, scale=None, depth=2) as engine:
        one_frame(engine)
        assert set(engine.stages) == {"copy in", "inference", "copy out"}
        machine.broken = "cuEventQuery failed: an illegal memory access was encountered"
        through(engine)
        assert engine.spec.name == "bicubic" and not engine.stages


LAZY = """
import random, sys
if "engines.worker" in sys.orig_argv:
    sys.path.insert(0, {root!r})
    import pytest
    from tests.fakes.cuda import Machine, install
    install(pytest.MonkeyPatch(), Machine(random.Random(3).randrange))
"""


@pytest.mark.integration
def test_its_stages_come_out_of_a_process_of_its_own(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the kiosk: `machine` is for the look whether there is a GPU, the child has one of its own."""
    (tmp_path / "sitecustomize.py").write_text(LAZY.format(root=str(Path(__file__).parents[3])))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with engines.load(EngineRequest("tensorrt", MODEL, SIZE, isolate=True, frame_timeout=5)) as engine:
        until = time.monotonic() + 60
        while engine.spec.name != "tensorrt":
            assert time.monotonic() < until and not engine.stages, engine.spec
            through(engine)
        one_frame(engine)
        assert set(engine.stages) == {"copy in", "inference", "copy out"}
        assert all(0 < seconds < 1 for seconds in engine.stages.values())


@pytest.mark.parametrize(
    ("memory", "integrated", "mapped"),
    [("auto", False, False), ("auto", True, True), ("copy", True, False), ("mapped", False, True)],
)
def test_the_kind_of_memory(monkeypatch: pytest.MonkeyPatch, memory: Memory, integrated: bool, mapped: bool) -> None:
    machine = Machine(random.Random(3).randrange, integrated=integrated)
    install(monkeypatch, machine)
    with engines.load(EngineRequest("tensorrt", MODEL, SIZE, tensorrt=TensorRtOptions(memory=memory))) as engine:
        on_device = [one for one in machine.memories.values() if not one.host]
        assert len(on_device) == (2 if mapped else 8)  # scratch; and picture, strength and output, of two slots
        assert ("mapped" in engine.spec.device) == mapped
        one_frame(engine)
    check_clean(machine)


def test_nothing_is_made_per_frame(machine: Machine) -> None:
    with engines.load(EngineRequest("tensorrt", MODEL, SIZE, depth=2)) as engine:
        before = machine.allocations, machine.events, len(machine.streams)
        for _ in range(100):
            one_frame(engine)
        assert (machine.allocations, machine.events, len(machine.streams)) == before
        assert machine.graph_launches > 90  # and the others are sampled for their stage times


def test_graphs_are_not_needed(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(random.Random(3).randrange, capturable=False)
    install(monkeypatch, machine)
    with caplog.at_level(logging.INFO), engines.load(EngineRequest("tensorrt", MODEL, SIZE, depth=3)) as engine:
        one_frame(engine)
    assert caplog.text.count("no CUDA graph") == 1
    check_clean(machine)


@pytest.mark.integration
def test_a_late_collector_does_not_make_the_engine_look_slow(machine: Machine) -> None:
    with engines.load(EngineRequest("tensorrt", MODEL, SIZE, depth=1)) as engine:
        engine.reserve()
        engine.submit(pictures()[0][0], None)
        time.sleep(0.3)
        done = engine.collect(5)
        assert done is not None and done[2] < 0.2  # the device's clock ticks 1 ms an operation


def test_plans_and_timings_are_kept(machine: Machine, cache: Path) -> None:
    for _ in range(2):
        with engines.load(EngineRequest("tensorrt", MODEL, SIZE)):
            pass
    assert machine.builds == 1
    (plan,) = PlanCache().entries()
    assert plan.key.gpu == "Lazy, compute capability 8.7" and plan.key.sdk == "tensorrt 10.3.0"
    assert [path.read_bytes() for path in cache.rglob("timing-*.cache")] == [b"timed"]
    plan.path.write_bytes(plan.path.read_bytes()[:-2])
    with engines.load(EngineRequest("tensorrt", MODEL, SIZE)) as engine:
        one_frame(engine)
    assert machine.builds == 2


@pytest.mark.parametrize(("free", "allowed"), [(1 << 20, 64 << 20), (1 << 30, 1 << 29), (64 << 30, 2 << 30)])
def test_the_builder_has_half_of_what_is_free_within_limits(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, free: int, allowed: int
) -> None:
    told = list[int]()

    def build(*_: Any, workspace: int, **__: Any) -> Any:
        told.append(workspace)
        raise EngineError("enough is known")

    monkeypatch.setattr(tensorrt_engine, "build", build)
    machine.capacity = free
    with pytest.raises(EngineError, match="enough"):
        engines.load(EngineRequest("tensorrt", MODEL, SIZE, depth=1))
    assert told == [allowed]


def test_a_build_can_be_stopped(machine: Machine) -> None:
    progress = BuildProgress()
    sys.modules["tensorrt"].during_build = progress.cancel  # type: ignore[attr-defined]
    with pytest.raises(EngineError, match="was stopped"):
        engines.load(EngineRequest("auto", MODEL, SIZE), progress=progress)
    check_clean(machine)


def test_tensorrt_rtx_builds_for_the_gpu_here(machine: Machine, cache: Path) -> None:
    older = enum.IntEnum("older", ["SM86", "SM120"])
    newer = enum.IntEnum("newer", ["SM86", "SM87"])
    vars(sys.modules["tensorrt"])["ComputeCapability"] = older
    with pytest.raises(EngineError, match=r"cannot build for 8\.7") as told:
        engines.load(EngineRequest("tensorrt", MODEL, SIZE))
    assert told.value.facts == "it can for 8.6, 12.0"
    vars(sys.modules["tensorrt"])["ComputeCapability"] = newer
    with engines.load(EngineRequest("tensorrt", MODEL, SIZE)) as engine:
        one_frame(engine)
    assert PlanCache().entries()[0].key.gpu == "compute capability 8.7"
    assert not list(cache.rglob("timing-*")), "it times nothing"
    check_clean(machine)


def test_dla(machine: Machine) -> None:
    with engines.load(EngineRequest("tensorrt", MODEL, SIZE, tensorrt=TensorRtOptions(dla=1))) as engine:
        assert "DLA 1" in engine.spec.device
    assert PlanCache().entries()[0].key.options == "dla 1"
    with pytest.raises(EngineError, match="There is no DLA core 2") as told:
        engines.load(EngineRequest("tensorrt", MODEL, SIZE, tensorrt=TensorRtOptions(dla=2)))
    assert "offers 2" in told.value.facts


def test_a_newer_parser_is_told_of_a_dla(machine: Machine) -> None:
    sdk = vars(sys.modules["tensorrt"])
    engines.load(EngineRequest("tensorrt", MODEL, SIZE, tensorrt=TensorRtOptions(dla=0))).free()
    assert sdk["parser_flags"] == []
    sdk["OnnxParserFlag"] = enum.IntEnum("OnnxParserFlag", ["ADJUST_FOR_DLA"])
    for core, told in ((None, []), (1, [sdk["OnnxParserFlag"].ADJUST_FOR_DLA])):
        engines.load(EngineRequest("tensorrt", MODEL, SIZE, tensorrt=TensorRtOptions(dla=core))).free()
        assert sdk["parser_flags"] == told


def test_what_is_measured_on_a_gpu_can_be_measured(machine: Machine) -> None:
    with engines.load(EngineRequest("tensorrt", MODEL, SIZE, depth=2)) as engine:
        for index in range(engine.depth):
            cuda_slot = engine.slot(index)
            assert isinstance(cuda_slot, slot.CudaSlot)
            cuda_slot.sample_every = 2
        assert stage_medians(engine, pictures()[0][0]).keys() == {"copy in", "inference", "copy out"}


DEAF = """
import time
from scripts.build_engine import build_in_thread, cancelled_by_ctrl_c

def build(progress):
    print("begun", flush=True)
    while not progress.cancelled:
        time.sleep(0.01)
    print("cancelled", flush=True)
    time.sleep(600)

with cancelled_by_ctrl_c() as progress:
    build_in_thread(build, progress)
"""


@pytest.mark.integration
def test_a_second_ctrl_c_does_not_wait_for_a_builder_that_does_not_ask() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DEAF], cwd=Path(__file__).parents[3], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            for said in ("begun", "cancelled"):
                assert process.stdout.readline().strip() == said
                process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
        finally:
            process.kill()


def test_a_layer_profile_goes_to_the_log(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO),
        engines.load(EngineRequest("tensorrt", MODEL, SIZE, tensorrt=TensorRtOptions(profile=True))) as engine,
    ):
        one_frame(engine)
    assert "1.000 ms 100.0 %  convolution" in caplog.text


def test_that_of_one_which_stands_in_for_a_server_does_too(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    away = f"triton://127.0.0.1:1/{MODEL}"
    request = EngineRequest(
        away, MODEL, SIZE, fallback=("tensorrt",), start="standby", tensorrt=TensorRtOptions(profile=True)
    )
    with caplog.at_level(logging.INFO), engines.load(request):
        until = time.monotonic() + 20
        while "convolution" not in caplog.text:
            assert time.monotonic() < until, caplog.text
            time.sleep(0.01)


@pytest.mark.parametrize("number", range(1, 11))
def test_out_of_memory_at_any_allocation(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    machine = Machine(random.Random(3).randrange)
    machine.fail_allocation = number
    install(monkeypatch, machine)
    with pytest.raises(EngineError, match="cannot be set up for 16x16, 2 frames in flight") as told:
        engines.load(EngineRequest("tensorrt", MODEL, SIZE))
    assert "Lazy: cuMem" in told.value.facts and "out of memory" in told.value.facts and "--size" in told.value.fix
    assert machine.allocations == number
    del told
    check_clean(machine)


FAILURES = {
    "cuEventQuery failed: an illegal memory access was encountered": "start it again",
    "cuEventQuery failed: unspecified launch failure": "start it again",
    "cuMemcpyHtoDAsync failed: out of memory": "--size",
    "cuEventQuery failed: uncorrectable ECC error encountered": "dmesg",
    "cuEventRecord failed: something new": "--engine openvino",
}


@pytest.mark.parametrize("text", FAILURES)
def test_a_device_that_fails_while_running(machine: Machine, text: str) -> None:
    with pytest.raises(EngineError) as told, engines.load(EngineRequest("tensorrt", MODEL, SIZE)) as engine:
        one_frame(engine)
        engine.reserve()
        machine.broken = text
        engine.submit(pictures()[0][0], None)
    assert told.value.problem.startswith("The GPU has") and text in told.value.facts
    assert FAILURES[text] in told.value.fix
    assert not machine.memories and not machine.stack


def test_a_device_that_fails_between_launch_and_wait(machine: Machine) -> None:
    with (
        pytest.raises(EngineError, match="failed on a frame"),
        engines.load(EngineRequest("tensorrt", MODEL, SIZE)) as engine,
    ):
        engine.reserve()
        engine.submit(pictures()[0][0], None)
        machine.broken = "cuEventQuery failed: device lost"
        engine.collect(5)
    assert not machine.memories


@pytest.mark.integration
def test_a_device_that_hangs_is_left_alone(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    engine = engines.load(EngineRequest("tensorrt", MODEL, SIZE))
    assert isinstance(engine, SlotEngine)
    engine._hang_timeout = 0.2
    for index in range(engine.depth):
        cuda_slot = engine.slot(index)
        assert isinstance(cuda_slot, slot.CudaSlot)
        cuda_slot.close_timeout = 0.1
    engine.reserve()
    machine.choose = lambda count: 0  # nothing moves any more
    engine.submit(pictures()[0][0], None)
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        engine.collect(0.05)
    with pytest.raises(EngineError, match="stopped answering"):
        while True:
            try:
                engine.collect(0.05)
            except TimeoutError:
                continue
    engine.__exit__(None, None, None)
    assert time.monotonic() - begun < 100
    assert "its memory is left behind" in caplog.text
    assert not machine.faults


def library(machine: Machine, **facts: int) -> Any:
    return lambda: Library(machine, **facts)


def test_why_it_cannot_be_used(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engines.unavailable("tensorrt") is None
    monkeypatch.setattr(driver, "load", library(machine, devices=0))
    assert engines.unavailable("tensorrt") == "the NVIDIA driver sees no GPU"
    monkeypatch.setattr(driver, "load", library(machine, version=12060))
    told = engines.unavailable("tensorrt")
    assert told == "the NVIDIA driver is too old: it knows CUDA up to 12.6, tensorrt-cu13 11.4.0 needs 13.0"
    with pytest.raises(EngineError, match="tensorrt cannot be used"):
        engines.load(EngineRequest("tensorrt", MODEL, SIZE))
    monkeypatch.setattr(driver, "load", library(machine))
    machine.broken = "no CUDA-capable device is detected"
    assert "driver does not work: cuInit failed: no CUDA-capable device" in str(engines.unavailable("tensorrt"))
    machine.broken = ""
    monkeypatch.setattr(sys.modules["pycuda"], "__spec__", None)
    monkeypatch.delitem(sys.modules, "pycuda")
    assert engines.unavailable("tensorrt") == "pycuda is not installed: pip install 'livesr[tensorrt]'"
    monkeypatch.delitem(sys.modules, "tensorrt")
    assert "neither tensorrt (comes with JetPack" in str(engines.unavailable("tensorrt"))


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Any:
        raise OSError("libcuda.so.1: cannot open shared object file")

    monkeypatch.setattr(driver, "load", none)
    assert driver.missing() == "there is no NVIDIA driver: libcuda.so.1 is not found"


def test_auto_takes_it_and_goes_on_without_it(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert engines.candidates("auto")[:2] == ["tensorrt", "openvino"]
    with engines.load(EngineRequest("auto", MODEL, SIZE)) as engine:
        assert engine.spec.name == "tensorrt"
    machine.fail_allocation = machine.allocations + 3
    with engines.load(EngineRequest("auto", MODEL, SIZE)) as engine:
        assert engine.spec.name == "openvino"
    assert "the engine tensorrt fails, trying the next" in caplog.text and "out of memory" in caplog.text
    with engines.load(EngineRequest("auto", MODEL, SIZE, exclude=("tensorrt",))) as engine:
        assert engine.spec.name == "openvino"
    with pytest.raises(EngineError, match="No engine is left"):
        engines.load(EngineRequest("tensorrt", MODEL, SIZE, exclude=("tensorrt",)))


def test_a_bad_model_is_nobody_elses_task(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model called"):
        engines.load(EngineRequest("auto", "fats", SIZE))
    file = tmp_path / "text.onnx"
    file.write_text("no model at all")
    with pytest.raises(EngineError, match="TensorRT cannot read"):
        engines.load(EngineRequest("tensorrt", str(file), SIZE))
    with pytest.raises(ModelError, match="not an ONNX model"):
        engines.load(EngineRequest("auto", str(file), SIZE))
    check_clean(machine)


def test_an_sdk_that_does_not_start(monkeypatch: pytest.MonkeyPatch, machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')\n")
    monkeypatch.delitem(sys.modules, "tensorrt")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EngineError, match="tensorrt cannot be imported") as told:
        engines.load(EngineRequest("tensorrt", MODEL, SIZE))
    assert "libnvinfer.so.10" in told.value.facts


@pytest.fixture
def signals() -> Iterator[None]:
    """Signal handlers and the log are put back as they were."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    kept = [signal.getsignal(number) for number in numbers]
    level = logging.getLogger().level
    yield
    for number, handler in zip(numbers, kept, strict=True):
        signal.signal(number, handler)
    logging.getLogger().setLevel(level)


def app(tmp_path: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The whole program on a film of 16x16, in this process; its exit status and figures."""
    from app.application import main

    clip, stats = encode(tmp_path / "clip.mkv", 20, size=SIZE), tmp_path / "stats.json"
    code = main(["--source", str(clip), "--headless", "--stats", str(stats), *arguments])
    return code, json.loads(stats.read_text()) if stats.exists() else {}


@pytest.mark.integration
def test_the_program_with_it(machine: Machine, tmp_path: Path, signals: None) -> None:
    code, figures = app(tmp_path, "--engine", "tensorrt", "--memory", "mapped", "--depth", "3", "--profile")
    assert code == 0
    assert figures["engine"]["name"] == "tensorrt" and "mapped" in figures["engine"]["device"]
    assert figures["frames_shown"] == 20
    assert {"copy in", "inference", "copy out", "decode"} <= set(figures["stages_ms"])
    check_clean(machine)


@pytest.mark.integration
def test_a_size_that_changes_loads_another_engine(machine: Machine, tmp_path: Path, signals: None) -> None:
    from app.application import main

    (tmp_path / "pictures").mkdir()
    for index, size in enumerate([SIZE, SIZE, (18, 17), (18, 17), SIZE]):
        cv2.imwrite(str(tmp_path / "pictures" / f"{index}.png"), np.zeros((size[1], size[0], 3), np.uint8))
    stats = tmp_path / "stats.json"
    source = ["--source", str(tmp_path / "pictures"), "--headless", "--stats", str(stats)]
    assert main([*source, "--engine", "tensorrt"]) == 0
    assert json.loads(stats.read_text())["frames_shown"] == 5
    assert machine.builds == 2  # the first size's plan was kept
    check_clean(machine)


def test_the_script_builds_for_the_gpu_here(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert build_engine.main(["--model", MODEL, "--size", "16x16", "--size", "32x16"]) == 0
    told = capsys.readouterr().out
    assert "16x16 -> 32x32, Lazy" in told and "32x16 -> 64x32, Lazy" in told
    assert build_engine.main(["--list"]) == 0
    assert capsys.readouterr().out.count("tensorrt 10.3.0, Lazy, compute capability 8.7") == 2
    changed = PlanCache().entries()[0].path
    changed.write_bytes(changed.read_bytes().replace(b"tensorrt 10.3.0", b"tensorrt 10.0.0"))
    assert build_engine.main(["--prune"]) == 0
    assert "1 kept" in capsys.readouterr().out
    check_clean(machine)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--ahead", "8.6", "--dla", "0"], "argument --dla: not allowed with argument --ahead"),
        (["--list", "--ahead", "8.6"], "argument --ahead: not allowed with argument --list"),
        (["--folder", "plans", "--size", "64x48"], "--folder is for --ahead, --list and --prune"),
        (["--prune", "--model", "fast"], "--list and --prune apply to all models and sizes"),
    ],
)
def test_what_the_script_would_not_heed_is_an_error(
    given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        build_engine.main(given)
    assert told in capsys.readouterr().err


@pytest.mark.integration
@pytest.mark.parametrize(("name", "expected"), [("auto", 0), ("tensorrt", 1)])
def test_the_program_when_the_gpu_is_lost_midway(
    machine: Machine, tmp_path: Path, signals: None, caplog: pytest.LogCaptureFixture, name: str, expected: int
) -> None:
    machine.lost_after = 9
    code, figures = app(tmp_path, "--engine", name)
    assert code == expected
    if expected == 0:
        assert figures["frames_shown"] == 20 and figures["engine"]["name"] == "openvino"
        assert "the engine tensorrt has failed, continuing with another" in caplog.text
    check_clean(machine)


def test_contexts_belong_to_threads(machine: Machine) -> None:
    """Loaded in one thread, fed in another, collected in a third, closed in a fourth."""
    made: list[Any] = []

    def in_thread(work: Any) -> None:
        failed: list[BaseException] = []

        def guarded() -> None:
            try:
                work()
                assert not machine.stack
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        thread.join(30)
        assert not failed, failed

    in_thread(lambda: made.append(engines.load(EngineRequest("tensorrt", MODEL, SIZE))))
    engine = made[0]
    in_thread(lambda: (engine.reserve(), engine.submit(pictures()[1][0], 1)))
    in_thread(lambda: made.append(engine.collect(5)[0].copy()))
    assert np.array_equal(made[1], pictures()[1][1])
    in_thread(lambda: engine.__exit__(None, None, None))
    check_clean(machine)


def test_the_catalogue_prefers_what_tensor_cores_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fast-x2", "fast-x2-fp16", "fast-x2-int8", "fast-x4"):
        (tmp_path / f"{name}.onnx").write_bytes(b"")
    monkeypatch.setattr(catalog, "MODELS_FOLDER", tmp_path)
    assert catalog.find("fast", builder.PREFERRED_PRECISIONS).name == "fast-x2-fp16.onnx"
    assert catalog.find("fast").name == "fast-x2.onnx"
