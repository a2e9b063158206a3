"""SIGHUP: a new configuration takes the place of the old one, or does not; the end of a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

import app.application
import app.session
from app.config.schema import Config
from app.errors import ConfigError
from app.lifecycle import Lifecycle
from engines.errors import EngineError
from scripts.kiosk.fake_camera import FakeDevDir
from tests.support.program import LIMIT, ROOT
from tests.support.service_manager import managed, write

pytestmark = pytest.mark.e2e


def test_a_new_configuration_takes_the_place_of_the_old(tmp_path: Path, dev: FakeDevDir, config: Path) -> None:
    with managed(tmp_path, dev, config) as manager:
        manager.until("READY=1")
        write(config, kiosk={"reconnect": True}, input={"source": "demo", "size": "80x60"})
        manager.process.send_signal(signal.SIGHUP)
        manager.until("RELOADING=1")
        manager.until("READY=1")
        manager.until("WATCHDOG=1")
        assert "80x60" in manager.text()


def test_a_bad_configuration_is_refused(tmp_path: Path, dev: FakeDevDir, config: Path) -> None:
    bad = {
        "input: {camra: 0}\n": "Did you mean input.camera?",
        "input: {fps: fast}\n": "'fast'",
        "a: [": "not YAML",
        "output: {on: true}\n": "the key output.on is not text",
        "engine: {model: none.onnx}\n": "no model file none.onnx",
        "engine: {model: fats}\n": "Did you mean fast?",
        "kiosk: {attract: none.mkv}\n": "There is no file none.mkv",
        "kiosk: {texts: none}\n": "none is not a folder of texts",
    }
    with managed(tmp_path, dev, config) as manager:

        def refused(told: str) -> bool:
            return told in manager.text().rpartition("is refused; the old one stays")[2]

        manager.until("READY=1")
        for text, told in bad.items():
            config.write_text(text)
            manager.process.send_signal(signal.SIGHUP)
            manager.supervise(partial(refused, told))
        for _ in range(2):
            manager.until("WATCHDOG=1")
        assert manager.starts == 1 and not [message for message in manager.told if "RELOADING" in message]


def test_one_that_fails_when_it_is_used_gives_way_to_the_old(tmp_path: Path, dev: FakeDevDir, config: Path) -> None:
    with managed(tmp_path, dev, config) as manager:
        manager.until("READY=1")
        write(config, input={"source": str(tmp_path / "none.mkv")})
        manager.process.send_signal(signal.SIGHUP)
        manager.until("RELOADING=1")
        manager.until("READY=1")
        assert "the new configuration has failed; the old one is back" in manager.text()
        assert "There is no file" in manager.text()


def test_a_reload_opens_closes_and_exchanges_the_window(
    tmp_path: Path, dev: FakeDevDir, config: Path, display: str
) -> None:
    def reload(output: dict[str, object], panes: int, **run: bool) -> None:
        write(config, output=output, run=run)
        manager.process.send_signal(signal.SIGHUP)
        manager.until("READY=1")
        found = [
            child
            for child in psutil.Process(manager.process.pid).children()
            if "app.sinks.window.worker" in " ".join(child.cmdline())
        ]
        assert len(found) == panes

    def windows() -> list[str]:
        command = ["xdotool", "search", "--onlyvisible", "--name", "Live super-resolution"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LIMIT).stdout.split()

    environment = os.environ | {"DISPLAY": display}
    write(config, output={"isolate": False})
    with managed(tmp_path, dev, config, DISPLAY=display) as manager:
        manager.until("READY=1")
        manager.supervise(lambda: len(windows()) == 1)
        reload({"headless": True}, panes=0)
        manager.supervise(lambda: not windows())
        reload({"isolate": True}, panes=1)
        manager.supervise(lambda: len(windows()) == 1)
        reload({"isolate": False}, panes=0)
        manager.supervise(lambda: len(windows()) == 1)
        assert manager.starts == 1


def test_a_reload_changes_how_much_is_told(tmp_path: Path, dev: FakeDevDir, config: Path) -> None:
    def reload(**run: bool) -> str:
        before = len(manager.text())
        write(config, run=run)
        manager.process.send_signal(signal.SIGHUP)
        for message in ("RELOADING=1", "READY=1", "WATCHDOG=1"):
            manager.until(message)
        return manager.text()[before:]

    with managed(tmp_path, dev, config) as manager:
        manager.until("READY=1")
        assert "the new configuration is in use" not in reload(quiet=True)
        assert "the new configuration is in use" in reload(quiet=False)


def test_a_reload_is_not_lost_while_a_stream_is_opened(tmp_path: Path, dev: FakeDevDir, config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
        write(config, input={"source": f"http://127.0.0.1:{server.getsockname()[1]}/"}, kiosk={})
        manager = stack.enter_context(managed(tmp_path, dev, config))
        server.settimeout(LIMIT)
        stack.enter_context(server.accept()[0])  # which takes the call and says nothing
        write(config, input={"source": "demo", "size": "80x60"})
        manager.process.send_signal(signal.SIGHUP)
        manager.until("READY=1")
        assert "does not answer" in manager.text() and "80x60" in manager.text()


def test_control_knows_what_follows() -> None:
    new = Config.model_validate({"engine": "bicubic"})
    answers: list[Config | ConfigError] = [ConfigError("no"), Config(), new, new]

    def reread() -> Config:
        answer = answers.pop(0)
        if isinstance(answer, ConfigError):
            raise answer
        return answer

    control = Lifecycle(Config(), reread)
    for _ in range(2):  # bad, then unchanged
        control.reload()
        assert not control.stopping.is_set()
    assert not control.next_run(), "the end of a film is the end"
    control.reload()
    assert control.stopping.is_set() and control.next_run()
    assert control.config == new and not control.stopping.is_set()
    assert control.next_run(EngineError("broken")) and control.config == Config(), "it never showed a picture"
    assert not control.next_run(EngineError("broken"))
    control.reload()
    assert control.next_run()
    control.mark_working()
    assert not control.next_run(EngineError("broken")), "it had worked"
    control.end()
    assert not control.next_run() and control.stopping.is_set()


def test_of_several_reloads_the_last_counts_and_what_has_worked_comes_back() -> None:
    first, second, third = (Config.model_validate({"run": {"frames": frames}}) for frames in (1, 2, 3))
    answers = [second, first, second, third]
    control = Lifecycle(first, lambda: answers.pop(0))
    control.reload()
    control.reload()
    assert control.next_run() and control.config == first, "it was changed back before the run had ended"
    control.reload()
    assert control.next_run() and control.config == second
    control.reload()
    assert control.next_run(EngineError("broken")) and control.config == third, "it was asked for meanwhile"
    assert control.next_run(EngineError("broken")) and control.config == first, "the second never showed a picture"
    assert not control.next_run(EngineError("broken"))


def test_a_fault_under_a_new_configuration_gives_way_to_the_old(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = Config(), Config.model_validate({"run": {"frames": 1}})
    control, ran = Lifecycle(old, lambda: new), list[Config]()

    def run(config: Config, *_: object) -> None:
        ran.append(config)
        if config == new:
            raise ValueError("a port of minus one")
        if len(ran) == 1:
            control.mark_working()
            control.reload()

    monkeypatch.setattr(app.session, "run", run)
    app.application.run_sessions(control)
    assert ran == [old, new, old]
    assert "the old one is back\n  this should not have happened: ValueError: a port of minus one" in caplog.text
    control = Lifecycle(new, lambda: new)
    with pytest.raises(ValueError, match="a port"):
        app.application.run_sessions(control)


@pytest.mark.parametrize("verbose", [False, True])
def test_a_fault_of_the_program_is_a_refusal_too(verbose: bool, caplog: pytest.LogCaptureFixture) -> None:
    config = Config.model_validate({"run": {"verbose": verbose}})
    answers: dict[str, Config] = {}
    control = Lifecycle(config, lambda: answers["nothing"])
    control.reload()
    assert not control.stopping.is_set() and not control.next_run() and control.config == config
    (said,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "is refused; the old one stays" in said.getMessage() and "KeyError: 'nothing'" in said.getMessage()
    assert bool(said.exc_info) == verbose


class Terminal:
    """A real one, with the program in it as a shell would have it. Its standard error is a file."""

    def __init__(self, folder: Path, *arguments: object, ignoring: bool = False) -> None:
        self.folder, self.log = folder, folder / "log"
        self._master, slave = pty.openpty()

        def prepare() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            signal.signal(signal.SIGHUP, signal.SIG_IGN if ignoring else signal.SIG_DFL)

        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.run", *map(str, arguments), "--headless", "--engine", "bicubic"],
                cwd=ROOT,
                stdin=slave,
                stdout=slave,
                stderr=log,
                start_new_session=True,
                preexec_fn=prepare,
            )
        os.close(slave)
        self.until("from ")

    def until(self, text: str) -> None:
        end = time.monotonic() + LIMIT
        while text not in self.log.read_text():
            assert time.monotonic() < end and self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def shut(self) -> None:
        """As a window that is closed, or an ssh session that is lost."""
        os.close(self._master)
        self._master = -1

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(LIMIT)
        if self._master >= 0:
            self.shut()


def test_the_program_ends_with_its_terminal(tmp_path: Path, config: Path) -> None:
    write(config, input={"source": "demo", "size": "80x60"})
    with Terminal(tmp_path, "--config", config) as terminal:
        terminal.process.send_signal(signal.SIGHUP)  # the terminal is there: somebody wants a reload
        terminal.until("the configuration has not changed")
        terminal.shut()
        assert terminal.process.wait(LIMIT) == 0
        assert "SIGHUP ends the program" in terminal.log.read_text() and "shown in" in terminal.log.read_text()


def test_without_a_file_there_is_nothing_to_reload(tmp_path: Path) -> None:
    with Terminal(tmp_path, "--source", "demo", "--size", "80x60") as terminal:
        terminal.process.send_signal(signal.SIGHUP)
        assert terminal.process.wait(LIMIT) == 0
        assert "no --config" in terminal.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_program_that_does_not_end(number: signal.Signals) -> None:
    code = (
        "import os, sys, time; from app.config.schema import Config; from app.lifecycle import Lifecycle\n"
        "control = Lifecycle(Config(), Config); control.listen()\n"
        "for _ in range(2):\n"
        "    os.kill(os.getpid(), int(sys.argv[1])); print(control.stopping.wait(20), flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(int(number))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout) == (-number, "True\n"), done.stderr


def test_an_end_waits_for_no_reload_that_hangs() -> None:
    code = (
        "import os, signal, threading; from app.config.schema import Config; from app.lifecycle import Lifecycle\n"
        "reads = threading.Event(); never = threading.Event()\n"
        "def reread():\n"
        "    reads.set(); never.wait()\n"
        "control = Lifecycle(Config(), reread, file=True); control.listen()\n"
        "waited = []; threading.Thread.join = lambda thread, timeout: waited.append(timeout)\n"
        "signal.raise_signal(signal.SIGHUP); print(reads.wait(20))\n"
        "signal.raise_signal(signal.SIGTERM); print(control.ending, control.next_run(), waited, flush=True)\n"
        "os._exit(0)\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert done.stdout.splitlines() == ["True", "True False []"], done.stderr


def test_nohup_outlives_the_terminal(tmp_path: Path) -> None:
    with Terminal(tmp_path, "--source", "demo", "--size", "80x60", ignoring=True) as terminal:
        terminal.shut()
        terminal.until("the configuration has not changed")
        assert terminal.process.poll() is None
