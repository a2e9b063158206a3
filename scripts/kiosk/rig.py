"""The real kiosk with all that surrounds it, each part of which can be taken away."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml

from scripts.common.checkout import ROOT
from scripts.kiosk.engine_processes import engines
from scripts.kiosk.fake_camera import FakeDevDir
from scripts.kiosk.x_server import XServer

FAKE_CAMERA_SIZE = "320x180"
"""What two cores can hold while they are being bothered."""
SETTLED_S = 1.0
"""Seconds of undisturbed live picture before the next fault."""
HEAP_ENVIRONMENT = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "131072"}
"""As configs/livesr-kiosk.service has it."""
RECOVERY_TIMEOUT_S = 20.0
"""Seconds after which a fault counts as not recovered."""


class KioskRig:
    """The program with its window on a screen, a camera, a network camera if needed, and its configuration."""

    def __init__(self, folder: Path, disk: Path) -> None:
        """`folder` holds the files of all parts, `disk` the recordings."""
        self._folder, self._disk = folder, disk
        self.dev = FakeDevDir(folder / "dev")
        self.dev.plug(0, f"ok {FAKE_CAMERA_SIZE}")
        self._server: subprocess.Popen[bytes] | None = None
        self._port = 0
        self.screen = XServer(folder)
        self._config = folder / "kiosk.yaml"
        self.write_config()
        self._log = (folder / "log").open("wb")
        self.app = subprocess.Popen(
            [sys.executable, "scripts/kiosk/fake_camera.py", self.dev.folder, "--config", self._config],
            cwd=ROOT,
            env=os.environ | HEAP_ENVIRONMENT | {"DISPLAY": self.screen.display},
            stderr=self._log,
        )
        self.process = psutil.Process(self.app.pid)
        self.began = time.monotonic()

    def write_config(self, *, source: str | None = None, sweep: float = 16, text: str | None = None) -> None:
        """Write the shipped kiosk's configuration with the camera or the address `source`, or `text`."""
        data = yaml.safe_load((ROOT / "configs/kiosk.yaml").read_text())
        data["input"] = {"source": source} if source else {"camera": 0, "size": FAKE_CAMERA_SIZE, "fps": 30}
        data["kiosk"] |= {"attract_after": 3, "sweep": sweep}
        data["recording"] = {"folder": str(self._disk), "segment": 5, "quota_gb": 0.005, "reserve_mb": 0.5}
        data["run"] = {"stats": str(self._folder / "stats.json"), "log_format": "json"}
        self._config.write_text(text if text is not None else yaml.safe_dump(data))

    def reload(self) -> None:
        """Have the program read its configuration again."""
        self.app.send_signal(signal.SIGHUP)

    def serve(self, kind: str) -> int:
        """Start a network camera, mjpeg or rtsp, in its own process; return its port.

        The port is the same each time.
        """
        command = [sys.executable, f"scripts/kiosk/{kind}_server.py", str(self._port), FAKE_CAMERA_SIZE]
        self._server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._server.stdout is not None
        self._port = int(self._server.stdout.readline())
        return self._port

    def kill_server(self) -> None:
        """Kill the network camera, if there is one."""
        if self._server is not None:
            self._server.kill()
            self._server.wait(10)

    def engine(self) -> psutil.Process | None:
        """Return the process of the engine in use, once it has been running for as long as loading takes."""
        end = time.monotonic() + RECOVERY_TIMEOUT_S
        while time.monotonic() < end and self.app.poll() is None:
            before = engines(self.process)
            time.sleep(0.3)
            worked = {child: spent - before.get(child, spent) for child, spent in engines(self.process).items()}
            busy = max(worked, key=lambda child: worked[child], default=None)
            if busy is not None and worked[busy] > 0:  # the governor's spare one does not work
                return busy
        return None

    def live(self, since: float | None = None) -> float | None:
        """Wait for a new picture of the camera later than `since`, or than now; return its moment.

        None if there is none in time.
        """
        since, end = since or time.monotonic(), time.monotonic() + RECOVERY_TIMEOUT_S
        while self.screen.seen.live <= since:
            if time.monotonic() > end or self.app.poll() is not None:
                return None
            time.sleep(0.005)
        return self.screen.seen.live

    def settle(self) -> None:
        """Wait until pictures have come without a pause for SETTLED_S."""
        end = time.monotonic() + RECOVERY_TIMEOUT_S
        while time.monotonic() < end and self.app.poll() is None:
            last = self.screen.seen.gaps[-1][0] if self.screen.seen.gaps else 0.0
            now = time.monotonic()
            if now - last > SETTLED_S and now - self.screen.seen.live < 0.2:
                return
            time.sleep(0.05)

    def close(self) -> int:
        """End everything; return the program's exit status."""
        self.screen.ended = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self.app.send_signal(signal.SIGTERM)
        try:
            status = self.app.wait(40)
        except subprocess.TimeoutExpired:
            self.app.kill()
            status = self.app.wait()
        self.kill_server()
        self.screen.close()
        self._log.close()
        return status
