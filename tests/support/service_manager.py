"""What systemd does for the program, with a real notify socket, and the program's configuration."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from scripts.kiosk.fake_camera import FakeDevDir
from tests.support.program import LIMIT, ROOT


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
