"""Under a service manager: a real notify socket with this test in systemd's place, real hangs."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.pipeline.frame import Frame, OutputFrame
from app.system.systemd import Notifier, Watchdog
from scripts.kiosk.fake_camera import FakeDevDir
from tests.support.program import LIMIT
from tests.support.service_manager import managed, write

pytestmark = pytest.mark.e2e


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
