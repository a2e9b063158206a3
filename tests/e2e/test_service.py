"""Under a service manager: a real notify socket with this test in systemd's place, real signals, real hangs."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import yaml

import app.application
import app.session
from app.config.schema import Config
from app.errors import ConfigError
from app.lifecycle import Lifecycle
from app.pipeline.frame import Frame, OutputFrame
from app.system.systemd import Notifier, Watchdog
from engines.errors import EngineError
from scripts.kiosk.fake_camera import FakeDevDir

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
LIMIT = 100.0


class Manager:
    """What systemd does for a unit of Type=notify with WatchdogSec: starts, listens, kills what is silent, restarts."""

    def __init__(self, folder: Path, watchdog: float, *arguments: object, **environment: str) -> None:
        self.address = str(folder / "notify")
        self._environment = environment
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._watchdog, self._arguments = watchdog, arguments
        self.log = folder / "log"
        self.starts = 0
        self.told: list[str] = []
        self.start()

    def start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "WATCHDOG_PID")}
        environment |= {"NOTIFY_SOCKET": self.address, "WATCHDOG_USEC": str(round(self._watchdog * 1e6))}
        environment |= self._environment
        self.starts += 1
        self.told.clear()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "scripts/kiosk/fake_camera.py", *map(str, self._arguments)],
                cwd=ROOT,
                env=environment,
                stderr=log,
            )

    def hear(self, timeout: float) -> str:
        """The next message; "" after `timeout`."""
        self._socket.settimeout(timeout)
        try:
            self.told.append(self._socket.recv(4096).decode())
        except TimeoutError:
            return ""
        return self.told[-1]

    def until(self, text: str) -> None:
        end = time.monotonic() + LIMIT
        while text not in self.hear(0.1):
            assert time.monotonic() < end, f"no {text}; {self.text()}"
            assert self.process.poll() is None, self.text()

    def supervise(self, true: Callable[[], bool]) -> None:
        """Kill and start again whatever gives no sign of life, until `true`."""
        end, sign = time.monotonic() + LIMIT, time.monotonic()
        while not true():
            assert time.monotonic() < end, self.text()
            if "WATCHDOG=1" in self.hear(0.05):
                sign = time.monotonic()
            if time.monotonic() - sign > self._watchdog:
                self.process.kill()
                self.process.wait(LIMIT)
                self.start()
                self.until("READY=1")
                sign = time.monotonic()

    def text(self) -> str:
        return self.log.read_text()

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait(LIMIT)
        self._socket.close()


@pytest.fixture
def dev(tmp_path: Path) -> FakeDevDir:
    made = FakeDevDir(tmp_path / "dev")
    made.plug(0, "ok 96x64")
    return made


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "kiosk.yaml"
    write(path)
    return path


def write(path: Path, **changes: object) -> None:
    data: dict[str, object] = {
        "input": {"camera": 0},
        "engine": "bicubic",
        "output": {"headless": True},
        "kiosk": {"reconnect": True},
    }
    path.write_text(yaml.safe_dump(data | changes))


@contextlib.contextmanager
def managed(folder: Path, dev: FakeDevDir, config: Path, watchdog: float = 20, **environment: str) -> Iterator[Manager]:
    manager = Manager(folder, watchdog, dev.folder, "--config", config, **environment)
    try:
        yield manager
    finally:
        manager.close()


def test_ready_with_the_first_picture_and_alive_while_they_come(tmp_path: Path, dev: FakeDevDir, config: Path) -> None:
    with managed(tmp_path, dev, config) as manager:
        manager.until("READY=1")
        for _ in range(2):
            manager.until("WATCHDOG=1")
        assert "fps" in manager.told[-1]
        dev.unplug(0)  # the held picture is progress too: the program is well
        manager.until("There is no camera")
        manager.process.send_signal(signal.SIGTERM)
        manager.until("STOPPING=1")
        assert manager.process.wait(LIMIT) == 0


def test_a_process_that_hangs_is_restarted(tmp_path: Path, dev: FakeDevDir, config: Path) -> None:
    with managed(tmp_path, dev, config, watchdog=3) as manager:
        manager.until("READY=1")
        manager.process.send_signal(signal.SIGSTOP)
        manager.supervise(lambda: manager.starts == 2)
        assert manager.process.poll() is None


def test_a_slow_slide_show_is_alive_and_one_whose_disk_hangs_is_restarted(
    tmp_path: Path, dev: FakeDevDir, config: Path
) -> None:
    first, second = (tmp_path / "slides" / f"{number}.png" for number in (1, 2))
    first.parent.mkdir()
    for path in (first, second):
        cv2.imwrite(str(path), np.full((48, 64, 3), 90, np.uint8))
    write(config, input={"source": str(first.parent), "fps": 0.2, "pace": "source", "loop": True}, kiosk={})
    with managed(tmp_path, dev, config, watchdog=3) as manager:
        manager.until("READY=1")
        begun, signs = time.monotonic(), [time.monotonic()]
        while signs[-1] - begun < 6:
            manager.until("WATCHDOG=1")
            signs.append(time.monotonic())
        assert max(after - before for before, after in itertools.pairwise(signs)) < 3
        second.unlink()
        os.mkfifo(second)  # whoever reads it waits for ever
        manager.supervise(lambda: manager.starts == 2)
        assert manager.process.poll() is None


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


def test_without_a_manager_nothing_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert Notifier().watchdog_s == 0
    Notifier().tell("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    Notifier().tell("READY=1")
    monkeypatch.setenv("WATCHDOG_USEC", "5000000")
    assert Notifier().watchdog_s == 5
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert Notifier().watchdog_s == 0, "it is meant for another process"
    monkeypatch.setenv("WATCHDOG_USEC", "abc")
    assert Notifier().watchdog_s == 0 and "WATCHDOG_USEC is 'abc'" in caplog.text


def test_an_abstract_socket_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0livesr-test-{os.getpid()}")
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@livesr-test-{os.getpid()}")
        Notifier().tell("READY=1", "STATUS=well")
        assert manager.recv(100) == b"READY=1\nSTATUS=well"


def test_the_watchdog_is_fed_three_times_within_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "900000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        progress, told = Watchdog(Notifier(), lambda: None, lambda: "well"), []
        monkeypatch.setattr(time, "monotonic", lambda: now)
        image = np.zeros((2, 2, 3), np.uint8)
        for _ in range(40):
            now += 0.09
            progress.write(OutputFrame(image, Frame(image, 0, 0, 0)))
            with contextlib.suppress(BlockingIOError):
                while True:
                    told.append((now, manager.recv(100)))
    fed = [moment for moment, message in told if message == b"WATCHDOG=1\nSTATUS=well"]
    assert told[0][1] == b"READY=1" and len(fed) >= 9
    assert max(after - before for before, after in itertools.pairwise(fed)) <= 0.9 / 3 + 0.09


def install(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """scripts/install_kiosk of a copy of the project, in a root folder of its own, with stand-ins for the system's."""
    folder, bin = root / "project", root / "bin"
    if not folder.exists():
        for part in ("scripts", "configs", "app", "engines"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / ".venv/bin").mkdir(parents=True)
        python = folder / ".venv/bin/python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        bin.mkdir()
        for name in ("systemctl", "nvpmodel", "unclutter", "apt-get"):
            (bin / name).write_text(f'#!/bin/sh\necho "$(basename "$0") $*" >>{root}/calls\n')
            (bin / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{bin}:{os.environ['PATH']}", "KIOSK_ROOT": str(root), "PYTHONPATH": ""}
    command = ["bash", str(folder / "scripts/install_kiosk"), *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=60)


MODES = """
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< POWER_MODEL ID=1 NAME=25W >
"""


def test_a_configuration_is_looked_for_where_the_command_is_given(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("input: {fps: 15}\n")
    done = install(tmp_path, "--dry-run", "--config", "mine.yaml")
    assert done.returncode == 0, done.stderr
    assert f"--config {tmp_path}/mine.yaml\n" in done.stdout


def test_install_shows_what_it_would_do(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nvpmodel.conf").write_text(MODES)
    assert "nvpmodel" not in install(tmp_path, "--dry-run").stdout  # the mode is whoever set it's
    done = install(tmp_path, "--dry-run", "--power", "maxn*")
    assert done.returncode == 0, done.stderr
    for part in ("nvpmodel -m 2", "Type=notify", "WatchdogSec=20", "BlankTime", "unclutter", "systemctl enable"):
        assert part in done.stdout
    assert not (tmp_path / "calls").exists() and not (tmp_path / "etc/systemd").exists()


def test_install_installs_and_removes(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nvpmodel.conf").write_text(MODES)
    done = install(tmp_path, "--power", "25W")
    assert done.returncode == 0, done.stderr
    unit = tmp_path / "etc/systemd/system/livesr-kiosk.service"
    text = unit.read_text()
    assert "@" not in text.partition("[Unit]")[2]
    assert f"ExecStart={tmp_path / 'project'}/.venv/bin/python -m app.run --config" in text
    calls = (tmp_path / "calls").read_text().splitlines()
    assert "systemctl enable livesr-kiosk.service" in calls
    assert calls[-1] == "nvpmodel -m 1", "it may restart the board"
    if shutil.which("systemd-analyze"):
        checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
        wrong = [line for line in checked.stderr.splitlines() if "livesr-kiosk.service:" in line]
        assert not wrong, wrong
    (tmp_path / "bin/nvpmodel").write_text("#!/bin/sh\nexit 3\n")
    refused = install(tmp_path, "--power", "25W")
    assert refused.returncode == 2 and "all else is installed" in refused.stderr and unit.exists()
    assert install(tmp_path, "--remove").returncode == 0
    assert not unit.exists()


def test_what_is_installed_goes_whatever_is_missing_of_it(tmp_path: Path) -> None:
    assert install(tmp_path).returncode == 0
    (tmp_path / "bin/systemctl").write_text('#!/bin/sh\n[ "$1" != disable ] || exec ls /no-such-unit\n')
    done = install(tmp_path, "--remove", "--config", "/none.yaml", "--user", "nobody-of-that-name")
    assert done.returncode == 0 and "no-such-unit" in done.stderr, done.stderr
    assert not [path for path in (tmp_path / "etc").rglob("*livesr-kiosk*") if path.is_file()]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--power", "NOPE"], "has no power mode NOPE"),
        (["--user", "nobody-of-that-name"], "no user"),
        (["--config", "/none.yaml"], "no configuration"),
        (["--config", "{tmp}/typo.yaml"], "no model called fsat"),
        (["--frob"], "no option --frob"),
    ],
)
def test_install_refuses_in_words(tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nvpmodel.conf").write_text(MODES)
    (tmp_path / "typo.yaml").write_text("engine: {model: fsat}\n")
    done = install(tmp_path, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == 2 and told in done.stderr, done.stderr + done.stdout
    assert not (tmp_path / "etc/systemd").exists()


def test_install_refuses_a_path_that_a_unit_cannot_name(tmp_path: Path) -> None:
    def refused(root: Path, path: Path, fix: str, *arguments: str) -> None:
        done = install(root, *arguments)
        assert done.returncode == 2 and str(path) in done.stderr, done.stderr + done.stdout
        assert fix in done.stderr.splitlines()[-1]
        assert not (root / "etc").exists() and not (root / "calls").exists()

    refused(tmp_path / "100%", tmp_path / "100%/project", "  Move the project")
    assert install(tmp_path / "100%", "--remove").returncode == 0, "one of before this was refused"
    root = tmp_path / "plain"
    for character in "&|\\ %@'é":
        config = tmp_path / f"a{character}b.yaml"
        shutil.copy(ROOT / "configs/kiosk.yaml", config)
        refused(root, config, "  --config", "--config", str(config))
    (root / "bin/getent").write_text(f"#!/bin/sh\necho 'guest:x:1000:1000::{tmp_path}/a guest:/bin/sh'\n")
    (root / "bin/getent").chmod(0o755)
    refused(root, tmp_path / "a guest", "  --user", "--user", "guest")
