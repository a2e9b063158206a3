"""An engine in a process of its own: the same pictures, real kills, real hangs."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import psutil
import pytest

import engines
from engines.base import Engine, Image
from engines.catalog import shipped as catalog
from engines.errors import EngineError, one_line
from engines.failover.engine import FailoverEngine
from engines.isolation import engine as isolation
from engines.isolation.engine import IsolatedEngine
from engines.isolation.protocol import ANSWER, LAUNCH_MESSAGE
from engines.request import EngineRequest
from engines.slot_engine import SlotEngine
from engines.support.child_process import ChildProcess
from engines.worker import EngineWorker
from tests.conftest import Crowded

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
SIZE = (96, 64)
FRAMES = np.random.default_rng(0).integers(0, 256, (6, SIZE[1], SIZE[0], 3), np.uint8)


def through(engine: Engine[int], image: Image, tag: int = 0, timeout: float = 60) -> Image:
    assert engine.reserve()
    engine.submit(image, tag)
    end = time.monotonic() + timeout
    while True:
        try:
            done = engine.collect(0.05)
        except TimeoutError:
            assert time.monotonic() < end
            continue
        assert done is not None and done[1] == tag
        return done[0]


def until(true: Callable[[], object], limit: float = 60) -> None:
    end = time.monotonic() + limit
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["openvino", "bicubic"])
def test_the_same_pictures_come_out(name: str) -> None:
    with (
        isolation.load(EngineRequest(name, "fast", SIZE)) as alone,
        engines.load(EngineRequest(name, "fast", SIZE)) as here,
    ):
        assert alone.spec == here.spec
        for tag, image in enumerate(FRAMES):
            assert np.array_equal(through(alone, image, tag), through(here, image, tag))


def test_a_file_is_looked_for_where_the_program_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own-x2.onnx").write_bytes(catalog.find("fast-x2-fp32").read_bytes())
    monkeypatch.chdir(tmp_path)
    with isolation.load(EngineRequest("openvino", "own-x2.onnx", (16, 16), depth=1)) as engine:
        assert engine.spec.model == "own-x2"


def test_two_in_flight_keep_their_order() -> None:
    with isolation.load(EngineRequest("bicubic", "fast", SIZE, depth=3)) as engine:
        for tag in (0, 1):
            assert engine.reserve()
            engine.submit(FRAMES[tag], tag)
        for tag in range(6):
            done = engine.collect(20)
            assert done is not None and done[1] == tag
            assert abs(int(done[0][::2, ::2].mean()) - int(FRAMES[tag % 6].mean())) < 8
            if tag + 2 < 6:
                assert engine.reserve()
                engine.submit(FRAMES[tag + 2], tag + 2)


def test_mistakes_come_out_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("this is no network")
    with pytest.raises(EngineError, match="not an ONNX model"):
        isolation.load(EngineRequest("openvino", str(tmp_path / "text.onnx"), SIZE))
    with pytest.raises(EngineError, match="cannot be upscaled"):
        isolation.load(EngineRequest("openvino", "fast", (1, 1)))


def test_a_killed_child_is_told_of_at_once() -> None:
    with isolation.load(EngineRequest("bicubic", "fast", SIZE)) as engine:
        through(engine, FRAMES[0])
        os.kill(engine.child.pid, signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(EngineError, match="process is gone") as caught:
            for _ in range(5):
                through(engine, FRAMES[1])
        assert "SIGKILL" in str(caught.value) and time.monotonic() - began < 20


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="a limit is set on another process")
def test_a_child_without_memory_goes_on() -> None:
    """A frame needs none that is not there already."""
    with isolation.load(EngineRequest("openvino", "fast", SIZE)) as engine:
        wanted = through(engine, FRAMES[1]).copy()
        had = psutil.Process(engine.child.pid).memory_info().vms
        resource.prlimit(engine.child.pid, resource.RLIMIT_AS, (had, had))
        for tag in range(20):
            assert (through(engine, FRAMES[1], tag) == wanted).all()


SHORT = """
import sys
from pathlib import Path
if "engines.worker" in sys.orig_argv:
    import openvino
    wait_for = openvino.InferRequest.wait_for
    def failing(self, milliseconds):
        if Path({flag!r}).exists():
            raise RuntimeError("Exception from src/inference/src/cpp/infer_request.cpp:245:\\nstd::bad_alloc")
        return wait_for(self, milliseconds)
    openvino.InferRequest.wait_for = failing
"""


def test_a_child_without_memory_says_so_in_the_engines_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(SHORT.format(flag=str(tmp_path / "full")))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with isolation.load(EngineRequest("openvino", "fast", SIZE)) as engine:
        through(engine, FRAMES[0])
        (tmp_path / "full").touch()
        with pytest.raises(EngineError) as caught:
            through(engine, FRAMES[1])
    assert caught.value.parts == ("OpenVINO failed on a frame", "there is not enough memory", "Try --engine bicubic.")
    assert one_line(caught.value) == "OpenVINO failed on a frame; there is not enough memory; Try --engine bicubic"


def test_a_slot_that_does_not_answer_is_told_with_what_to_do() -> None:
    class Late:
        input = FRAMES[0]

        def launch(self, image: Image) -> None:
            pass

        def wait(self, timeout: float) -> Image:
            raise TimeoutError

    ours, theirs = Pipe()
    worker = threading.Thread(target=EngineWorker(theirs, [Late()], [(FRAMES[0], FRAMES[0])]).run)  # type: ignore[list-item]
    worker.start()
    ours.send_bytes(LAUNCH_MESSAGE.pack(0, 1.0))
    assert ours.poll(20)
    told = json.loads(ours.recv_bytes()[ANSWER.size :])
    ours.close()
    worker.join(20)
    assert told == ["The engine failed on a frame", "TimeoutError", "Try --engine bicubic."]


def test_a_child_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = isolation.load(EngineRequest("bicubic", "fast", SIZE))
    child = psutil.Process(engine.child.pid)
    child.suspend()
    engine.reserve()
    engine.submit(FRAMES[0], 0)
    with pytest.raises(TimeoutError):
        engine.collect(0.2)
    engine.cancel()
    engine.free()
    until(lambda: not child.is_running())


def test_nothing_is_left_behind() -> None:
    us = psutil.Process()
    before = us.num_fds()
    for _ in range(3):
        with isolation.load(EngineRequest("bicubic", "fast", SIZE)) as engine:
            through(engine, FRAMES[0])
    assert us.num_fds() <= before + 1
    assert not [child for child in us.children() if "engines.worker" in " ".join(child.cmdline())]


def test_it_outlives_the_thread_that_has_loaded_it() -> None:
    """Linux ends a child with the very thread that has started it, if it was told to end with its parent."""
    made: list[IsolatedEngine] = []
    loader = threading.Thread(target=lambda: made.append(isolation.load(EngineRequest("bicubic", "fast", SIZE))))
    loader.start()
    loader.join(20)
    with made[0] as engine:
        time.sleep(0.2)
        assert through(engine, FRAMES[0]).shape == (2 * SIZE[1], 2 * SIZE[0], 3)


ORPHAN = """
import os, sys, time
from engines.isolation import engine as isolation
from engines.request import EngineRequest
engine = isolation.load(EngineRequest("bicubic", "fast", (96, 64)))
print(engine.child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_it_ends_with_its_parent(stopped: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", ORPHAN], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        if stopped:
            child.suspend()
        parent.kill()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


SLOW = """
import sys, time
sys.path.insert(0, {root!r})
import engines
real = engines.load
def load(request, *, progress, strength):
    with progress.work("building the engine"):
        progress.stage("timing kernels")
        time.sleep(3)
    return real(request, progress=progress, strength=strength)
if "engines.worker" in sys.orig_argv:
    engines.load = load
"""


@pytest.mark.parametrize("model", ["fast", "no-such-model"])
def test_a_parent_that_is_gone_before_the_engine_is_loaded_leaves_no_traceback(model: str) -> None:
    here, there = Pipe()
    memory = os.memfd_create("frames") if hasattr(os, "memfd_create") else os.open(os.devnull, os.O_RDONLY)
    command = [sys.executable, "-m", "engines.worker", str(there.fileno()), str(memory)]
    kept = (there.fileno(), memory)
    with subprocess.Popen(command, pass_fds=kept, stderr=subprocess.PIPE) as process:
        there.close()
        os.close(memory)
        request = EngineRequest("openvino", model, SIZE).as_dict()
        here.send_bytes(json.dumps({"log": {"level": 30, "log_format": "text"}, "request": request}).encode())
        here.close()
        _, errors = process.communicate(timeout=60)
    assert errors == b"" and process.returncode == 0


def test_a_load_that_takes_long_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW.format(root=str(ROOT)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with engines.load(EngineRequest("openvino", "fast", SIZE, isolate=True)) as engine:
        until(lambda: through(engine, FRAMES[0]) is not None and "timing kernels" in engine.spec.state.reason)
        assert engine.spec.name == "bicubic" and "openvino: building the engine" in engine.spec.state.reason
        until(lambda: through(engine, FRAMES[0]) is not None and engine.spec.name == "openvino")
        assert engine.spec.state.ok


def test_a_load_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW.format(root=str(ROOT)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EngineError, match="has been loading it"):
        isolation.load(EngineRequest("bicubic", "fast", SIZE), load_timeout=1.0)


STOPPED = """
import os, signal, sys
if "engines.worker" in sys.orig_argv:
    os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_a_load_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text(STOPPED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(EngineError, match="said nothing for"):
        isolation.load(EngineRequest("bicubic", "fast", SIZE), silence_timeout=0.5)
    assert not [one for one in psutil.Process().children() if one.status() == psutil.STATUS_STOPPED]


def test_one_that_cannot_be_started_leaves_nothing_open(crowded: Crowded) -> None:
    crowded(10)
    before = psutil.Process().num_fds()
    for _ in range(10):
        with pytest.raises(BlockingIOError):
            ChildProcess("engines.worker")
    assert psutil.Process().num_fds() <= before + 1


def test_a_process_that_cannot_be_killed_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that hangs in a driver, in uninterruptible sleep."""
    process = ChildProcess("engines.worker")
    child = psutil.Process(process.pid)
    child.suspend()
    monkeypatch.setattr(subprocess.Popen, "kill", lambda _process: None)
    closing = threading.Thread(target=process.close, args=(0.1,), daemon=True)
    closing.start()
    closing.join(30)
    try:
        assert not closing.is_alive()
    finally:
        child.kill()
        child.wait(10)


def test_a_process_that_cannot_be_started_is_tried_again(crowded: Crowded) -> None:
    refused = crowded(1)
    with engines.load(EngineRequest("openvino", "fast", SIZE, isolate=True)) as engine:
        until(lambda: refused and through(engine, FRAMES[0]) is not None and engine.spec.name == "openvino")


def current(engine: Engine[int]) -> IsolatedEngine | None:
    assert isinstance(engine, FailoverEngine)
    active = engine.active
    if active is None:
        return None
    assert isinstance(active.engine, IsolatedEngine)
    return active.engine


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP])
def test_the_picture_goes_on_and_the_engine_comes_back(fault: signal.Signals) -> None:
    with engines.load(EngineRequest("openvino", "fast", SIZE, isolate=True, frame_timeout=1.0)) as engine:
        for _ in range(2):
            until(lambda: through(engine, FRAMES[0]) is not None and engine.spec.name == "openvino")
            child = current(engine)
            assert child is not None
            os.kill(child.child.pid, fault)
            waits = []
            for _ in range(20):
                began = time.monotonic()
                through(engine, FRAMES[1])
                waits.append(time.monotonic() - began)
                if engine.spec.name == "bicubic":
                    break
            assert engine.spec.name == "bicubic" and not engine.spec.state.ok
            assert max(waits) < 10  # 0.3 s is measured by scripts/soak.py; this machine may be busy


def test_an_engine_that_never_works_gives_way_to_the_next(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(EngineError, match="cannot be used"):
        engines.load(EngineRequest("tensorrt", "fast", SIZE, isolate=True))
    bad = tmp_path / "bad-x2.onnx"
    bad.write_text("this is no network")
    with engines.load(EngineRequest("openvino", str(bad), SIZE, isolate=True)) as engine:
        assert through(engine, FRAMES[0]).shape == (128, 192, 3)
        until(lambda: "parsed" in engine.spec.state.reason or through(engine, FRAMES[0]) is None)
    with engines.load(EngineRequest("bicubic", "fast", SIZE, isolate=True)) as plain:
        assert type(plain) is SlotEngine
