"""Fault injection: what can be done to a rig and its disk."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil

from scripts.kiosk.rig import FAKE_CAMERA_SIZE, KioskRig
from scripts.kiosk.small_disk import SmallDisk
from scripts.kiosk.verdict import Fault


class FaultInjector:
    """Injects faults.

    Each method repairs what it has broken, and returns the moment (monotonic) from which recovery counts.
    """

    def __init__(self, rig: KioskRig, disk: SmallDisk, chance: random.Random) -> None:
        self._rig, self._disk, self._chance = rig, disk, chance
        self._number = 0
        """The camera's, in /dev."""
        self.injected: list[Fault] = []

    def pause(self, least: float, most: float) -> None:
        """Wait for a random time in seconds."""
        time.sleep(self._chance.uniform(least, most))

    def unplugged(self) -> float:
        """Unplug the camera and plug it in again under its number."""
        self._rig.dev.unplug(self._number)
        self.pause(0.5, 5)
        self._rig.dev.plug(self._number, f"ok {FAKE_CAMERA_SIZE}")
        return time.monotonic()

    def renumbered(self) -> float:
        """Unplug the camera and plug it in again under another number."""
        self._rig.dev.unplug(self._number)
        self.pause(0.5, 5)
        self._number = (self._number + self._chance.randint(1, 5)) % 10
        self._rig.dev.plug(self._number, f"ok {FAKE_CAMERA_SIZE}")
        return time.monotonic()

    def misbehaves(self, how: str) -> float:
        """Put the camera into a state of FakeCamera's for some seconds."""
        self._rig.dev.set(self._number, f"{how} {FAKE_CAMERA_SIZE}")
        self.pause(2.5, 6)
        self._rig.dev.set(self._number, f"ok {FAKE_CAMERA_SIZE}")
        return time.monotonic()

    def resized(self) -> float:
        """Have the camera give another size for some seconds."""
        self._rig.dev.set(self._number, "ok 256x144")
        self.pause(1.5, 3)
        self._rig.dev.set(self._number, f"ok {FAKE_CAMERA_SIZE}")
        return time.monotonic()

    def stream(self) -> float:
        """Switch to a network camera whose server dies and comes back, and back to the camera."""
        kind, scheme = self._chance.choice([("mjpeg", "http"), ("rtsp", "rtsp")])
        port = self._rig.serve(kind)
        self._rig.write_config(source=f"{scheme}://127.0.0.1:{port}/")
        self._rig.reload()
        self._rig.live()
        self._rig.kill_server()
        self.pause(1, 5)
        self._rig.serve(kind)
        back = time.monotonic()
        seen = self._rig.live()
        self.injected.append(Fault(f"stream server killed, {scheme}", back, seen and seen - back))
        self._rig.write_config()
        self._rig.reload()
        now = time.monotonic()
        self.pause(0.5, 0.5)
        self._rig.kill_server()
        return now

    def engine(self, number: signal.Signals) -> float:
        """Send a signal to the engine's process."""
        child = self._rig.engine()
        with contextlib.suppress(psutil.Error):
            if child is not None:
                child.send_signal(number)
        return time.monotonic()

    def engine_memory(self) -> float:
        """Limit the engine to the memory that it has: further allocations fail."""
        child = self._rig.engine()
        with contextlib.suppress(psutil.Error, OSError):
            if child is not None:
                had = child.memory_info().vms
                resource.prlimit(child.pid, resource.RLIMIT_AS, (had, had))
        now = time.monotonic()
        self.pause(1, 2)
        self.engine(signal.SIGKILL)  # a fresh one, without the limit
        return now

    def disk_full(self) -> float:
        """Fill the disk for some seconds."""
        self._disk.fill()
        self.pause(2, 4)
        self._disk.empty()
        return time.monotonic()

    def disk_read_only(self) -> float:
        """Make the disk read-only for some seconds."""
        self._disk.protect()
        self.pause(2, 6)
        self._disk.unprotect()
        return time.monotonic()

    def reload(self) -> float:
        """Change the configuration and reload it."""
        self._rig.write_config(sweep=self._chance.choice([8, 12, 16, 20]))
        self._rig.reload()
        return time.monotonic()

    def reload_bad(self) -> float:
        """Reload a configuration that is invalid, and write the valid one again."""
        bad = self._chance.choice(["input: {camra: 0}", "a: [", "engine: {model: none.onnx}", "- 1"])
        self._rig.write_config(text=bad)
        self._rig.reload()
        self.pause(1, 2)
        self._rig.write_config()
        return time.monotonic()

    def load(self) -> float:
        """Keep every core computing for some seconds."""
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
        self.pause(1, 3)
        for process in busy:
            process.kill()
            process.wait()
        return time.monotonic()

    def clock(self) -> float:
        """Set the clock forward or back, as when a board without a battery receives the time."""
        self._rig.dev.set_clock(self._chance.choice([-86400, -3600, -3, 0, 3, 3600, 86400]))
        self.pause(1, 3)
        return time.monotonic()

    def display(self) -> float:
        """Kill the X server and start it again."""
        self._rig.screen.kill()
        self.pause(0.5, 3)
        self._rig.screen.restart()
        return time.monotonic()


FAULTS: dict[str, Callable[[FaultInjector], float]] = {
    "camera unplugged, same number": FaultInjector.unplugged,
    "camera unplugged, another number": FaultInjector.renumbered,
    "camera hangs": lambda injector: injector.misbehaves("stuck"),
    "camera repeats itself": lambda injector: injector.misbehaves("same"),
    "camera sends garbage": lambda injector: injector.misbehaves("garbled"),
    "camera changes size": FaultInjector.resized,
    "stream instead, and back": FaultInjector.stream,
    "engine killed": lambda injector: injector.engine(signal.SIGKILL),
    "engine hangs": lambda injector: injector.engine(signal.SIGSTOP),
    "engine out of memory": FaultInjector.engine_memory,
    "disk full": FaultInjector.disk_full,
    "disk read-only": FaultInjector.disk_read_only,
    "wall clock jumps": FaultInjector.clock,
    "reload": FaultInjector.reload,
    "reload of a bad file": FaultInjector.reload_bad,
    "processor load": FaultInjector.load,
    "X server killed and restarted": FaultInjector.display,
}
"""Every fault, by its name in the report."""
