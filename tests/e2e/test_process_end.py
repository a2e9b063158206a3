"""How the process ends: by a signal, during its imports, while a library hangs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import LIMIT, ROOT, start
from tests.support.recorded_files import decoded_frames, wait_for_size

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_properly(tmp_path: Path, number: signal.Signals) -> None:
    out, stats = tmp_path / "a.mp4", tmp_path / "a.json"
    with start("--source", "demo", "--size", "96x64", "--headless", "--record", out, "--stats", stats) as process:
        wait_for_size(out, 20_000)
        process.send_signal(number)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    assert len(decoded_frames(out)) == json.loads(stats.read_text())["recording"]["frames"] > 5


def test_the_end_may_come_while_a_stream_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
        process = stack.enter_context(start("--source", f"http://127.0.0.1:{server.getsockname()[1]}/", "--headless"))
        server.settimeout(LIMIT)
        stack.enter_context(server.accept()[0])  # which takes the call and says nothing
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0 and "Error" not in err, err


BY_MODULE = "import runpy; runpy.run_path('app/run.py', run_name='__main__')"  # as -m app.run does
BY_SCRIPT = "from app.run import main_entry; main_entry()"  # as setup.py has it


@pytest.mark.parametrize("entry", [BY_MODULE, BY_SCRIPT], ids=["module", "script"])
def test_ctrl_c_while_it_is_imported_ends_it_without_a_word(tmp_path: Path, entry: str) -> None:
    stuck = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(20)\n"
    (tmp_path / "pydantic.py").write_text(stuck)  # in place of one of the modules that it needs
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", entry]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


# A thread that is in a library, whose clean-up at the thread's end aborts the process, as pycuda's does.
HANGING = """
import ctypes, logging, sys, threading, time
import app.application

def main():
    libc, key, begun = ctypes.CDLL(None), ctypes.c_uint(), threading.Event()
    libc.pthread_key_create(ctypes.byref(key), ctypes.cast(libc.abort, ctypes.c_void_p))
    def work():
        libc.pthread_setspecific(key, ctypes.c_void_p(1))
        begun.set()
        while True:
            time.sleep(0.001)
    threading.Thread(target=work, daemon=True).start()
    begun.wait(20)
    print("the last figures")
    print("the last words", file=sys.stderr)
    return 3

app.application.main = main
"""


@pytest.mark.parametrize("entry", [BY_MODULE, BY_SCRIPT], ids=["module", "script"])
def test_a_thread_that_hangs_in_a_driver_does_not_spoil_the_end(entry: str) -> None:
    command = [sys.executable, "-c", HANGING + entry]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (3, "the last figures\n", "the last words\n")


def test_the_installed_command_is_that_entry() -> None:
    assert '"livesr=app.run:main_entry"' in (ROOT / "setup.py").read_text()
