#!/usr/bin/env python3
"""Run the real kiosk and break something every few seconds: python scripts/soak.py --minutes 60 --seed 1

The program has its window on an Xvfb, a camera on strings (scripts/puppet.py), real MJPEG and RTSP servers, its engine
in a process of its own, and records onto a small disk. What is on the screen is read from the X server's own memory, so
that the program is not asked how it is. Writes a report (--report FILE.md) and exits with 0 if every promise was kept.
Linux; faults of the disk need root, and are left out without.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts.extras  # noqa: F401

# isort: split
import cv2
import psutil
import yaml

from engines.base import UserError
from scripts import amounts, results
from scripts.children import engines
from scripts.puppet import Dev
from scripts.screen import Screen
from scripts.verdict import Fault, Outcome, judge, recorded, report, segments

ROOT = Path(__file__).resolve().parent.parent
SIZE = (320, 180)
CALM = 1.0
"""Seconds of undisturbed live picture before the next fault."""
HEAP = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "131072"}
"""As configs/livesr-kiosk.service has it."""
LIMIT = 20.0
"""Seconds after which a fault counts as not recovered."""


class SoakError(UserError):
    """What was asked for cannot be broken here."""


class Soak:
    """The program, its surroundings, and what is done to them."""

    def __init__(self, folder: Path, seed: int, only: Sequence[str] = ()) -> None:
        """`only`: kinds of faults, instead of all. Raises SoakError."""
        if unknown := sorted(set(only) - self.all_kinds().keys()):
            raise SoakError(f"There is no fault {unknown[0]!r}", f"there are: {', '.join(map(repr, self.all_kinds()))}")
        self.random, self.folder, self.only = random.Random(seed), folder, only
        self.seed = seed
        self.faults: list[Fault] = []
        self.samples: list[tuple[float, float, int, int]] = []
        self.disk = folder / "disk"
        self.disk.mkdir()
        self.mounted = (
            os.geteuid() == 0
            and not subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", self.disk], capture_output=True
            ).returncode
        )
        if not self.kinds():
            raise SoakError("Faults of the disk need root", "a small one is mounted for them", "Name others in --only.")
        self.dev = Dev(folder / "dev")
        self._ok = f"ok {SIZE[0]}x{SIZE[1]}"
        self._number = 0
        self.dev.plug(0, self._ok)
        self._server: subprocess.Popen[bytes] | None = None
        self._server_kind = "mjpeg"
        self._port = 0
        self.screen = Screen(folder)
        self.config = folder / "kiosk.yaml"
        self.write_config()
        self.log = (folder / "log").open("wb")
        self.app = subprocess.Popen(
            [sys.executable, "scripts/puppet.py", self.dev.folder, "--config", self.config],
            cwd=ROOT,
            env=os.environ | HEAP | {"DISPLAY": self.screen.display},
            stderr=self.log,
        )
        self.process = psutil.Process(self.app.pid)
        self.began = time.monotonic()

    def write_config(self, *, source: str | None = None, sweep: float = 16, text: str | None = None) -> None:
        """The shipped kiosk, at a size that two cores can hold while they are being bothered."""
        data = yaml.safe_load((ROOT / "configs/kiosk.yaml").read_text())
        data["input"] = {"source": source} if source else {"camera": 0, "size": f"{SIZE[0]}x{SIZE[1]}", "fps": 30}
        data["kiosk"] |= {"attract_after": 3, "sweep": sweep}
        data["recording"] = {"folder": str(self.disk), "segment": 5, "quota_gb": 0.005, "reserve_mb": 0.5}
        data["run"] = {"stats": str(self.folder / "stats.json")}
        self.config.write_text(text if text is not None else yaml.safe_dump(data))

    # What is done to them. Each repairs what it has broken, and returns the moment from which recovery counts.

    def unplugged(self) -> float:
        self.dev.unplug(self._number)
        self.pause(0.5, 5)
        self.dev.plug(self._number, self._ok)
        return time.monotonic()

    def renumbered(self) -> float:
        self.dev.unplug(self._number)
        self.pause(0.5, 5)
        self._number = (self._number + self.random.randint(1, 5)) % 10
        self.dev.plug(self._number, self._ok)
        return time.monotonic()

    def misbehaves(self, how: str) -> float:
        self.dev.set(self._number, f"{how} {SIZE[0]}x{SIZE[1]}")
        self.pause(2.5, 6)
        self.dev.set(self._number, self._ok)
        return time.monotonic()

    def resized(self) -> float:
        self.dev.set(self._number, "ok 256x144")
        self.pause(1.5, 3)
        self.dev.set(self._number, self._ok)
        return time.monotonic()

    def stream(self) -> float:
        """To a network camera whose server dies and comes back, and back to the camera."""
        self._server_kind = self.random.choice(["mjpeg", "rtsp"])
        self._serve()
        scheme = {"mjpeg": "http", "rtsp": "rtsp"}[self._server_kind]
        self.write_config(source=f"{scheme}://127.0.0.1:{self._port}/")
        self.app.send_signal(signal.SIGHUP)
        self.live()
        assert self._server is not None
        self._server.kill()
        self._server.wait(10)
        self.pause(1, 5)
        self._serve()
        back = time.monotonic()
        self.live()
        self.faults.append(Fault(f"stream server killed, {scheme}", back, self.screen.seen.live - back))
        self.write_config()
        self.app.send_signal(signal.SIGHUP)
        now = time.monotonic()
        self.pause(0.5, 0.5)
        self._server.kill()
        return now

    def engine(self, number: signal.Signals) -> float:
        child = self.child()
        with contextlib.suppress(psutil.Error):
            if child is not None:
                child.send_signal(number)
        return time.monotonic()

    def child(self) -> psutil.Process | None:
        """The process of the engine in use, once it has been there for as long as loading takes."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end and self.app.poll() is None:
            before = engines(self.process)
            time.sleep(0.3)
            worked = {child: spent - before.get(child, spent) for child, spent in engines(self.process).items()}
            busy = max(worked, key=lambda child: worked[child], default=None)
            if busy is not None and worked[busy] > 0:  # the governor's spare one does not work
                return busy
        return None

    def engine_memory(self) -> float:
        """No more memory for it than it has: what it allocates from now on fails."""
        child = self.child()
        with contextlib.suppress(psutil.Error, OSError):
            if child is not None:
                had = child.memory_info().vms
                resource.prlimit(child.pid, resource.RLIMIT_AS, (had, had))
        now = time.monotonic()
        self.pause(1, 2)
        self.engine(signal.SIGKILL)  # a fresh one, without the limit
        return now

    def disk_full(self) -> float:
        ballast = self.disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(1 << 16))
        self.pause(2, 4)
        ballast.unlink()
        return time.monotonic()

    def disk_read_only(self) -> float:
        end = time.monotonic() + LIMIT
        while True:
            subprocess.run(["mount", "-o", "bind", self.disk, self.disk], check=True)
            done = subprocess.run(["mount", "-o", "remount,bind,ro", self.disk], capture_output=True, text=True)
            if not done.returncode:
                break
            subprocess.run(["umount", "-l", self.disk], check=True)  # busy: a segment was begun on it in between
            if time.monotonic() > end:
                raise RuntimeError(f"{self.disk} cannot be made read-only: {done.stderr}")
            time.sleep(0.2)
        self.pause(2, 6)
        subprocess.run(["umount", "-l", self.disk], check=True)
        return time.monotonic()

    def reload(self) -> float:
        self.write_config(sweep=self.random.choice([8, 12, 16, 20]))
        self.app.send_signal(signal.SIGHUP)
        return time.monotonic()

    def reload_bad(self) -> float:
        self.write_config(text=self.random.choice(["input: {camra: 0}", "a: [", "engine: {model: none.onnx}", "- 1"]))
        self.app.send_signal(signal.SIGHUP)
        self.pause(1, 2)
        self.write_config()
        return time.monotonic()

    def load(self) -> float:
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
        self.pause(1, 3)
        for process in busy:
            process.kill()
            process.wait()
        return time.monotonic()

    def clock(self) -> float:
        """Hours or days forward or back, as when a board without a battery hears of the time."""
        self.dev.set_clock(self.random.choice([-86400, -3600, -3, 0, 3, 3600, 86400]))
        self.pause(1, 3)
        return time.monotonic()

    def display(self) -> float:
        self.screen.kill()
        self.pause(0.5, 3)
        self.screen.restart()
        return time.monotonic()

    def all_kinds(self) -> dict[str, Callable[[], float]]:
        """Every fault, by its name in the report."""
        return {
            "camera unplugged, same number": self.unplugged,
            "camera unplugged, another number": self.renumbered,
            "camera hangs": lambda: self.misbehaves("stuck"),
            "camera repeats itself": lambda: self.misbehaves("same"),
            "camera sends garbage": lambda: self.misbehaves("garbled"),
            "camera changes size": self.resized,
            "stream instead, and back": self.stream,
            "engine killed": lambda: self.engine(signal.SIGKILL),
            "engine hangs": lambda: self.engine(signal.SIGSTOP),
            "engine out of memory": self.engine_memory,
            "disk full": self.disk_full,
            "disk read-only": self.disk_read_only,
            "wall clock jumps": self.clock,
            "reload": self.reload,
            "reload of a bad file": self.reload_bad,
            "processor load": self.load,
            "X server killed and restarted": self.display,
        }

    def kinds(self) -> dict[str, Callable[[], float]]:
        """Those there are to be."""
        return {
            kind: act
            for kind, act in self.all_kinds().items()
            if (not self.only or kind in self.only) and (self.mounted or not kind.startswith("disk"))
        }

    def run(self, minutes: float) -> None:
        """Until the time is over or the program is."""
        self.live()
        until = self.began + 60 * minutes
        order: list[str] = []
        while time.monotonic() < until and self.app.poll() is None:
            if not order:  # every kind once, in another order each time
                order = self.random.sample(list(self.kinds()), len(self.kinds()))
            kind = order.pop()
            fault = Fault(kind, time.monotonic())
            if kind.startswith("engine"):
                self.child()  # a fault of an engine that is not in use is none
                fault.at = time.monotonic()
            repaired = self.kinds()[kind]()
            if self.live(since=repaired):
                fault.recovered = max(0.0, self._back - repaired)
            else:
                cv2.imwrite(str(self.folder / f"lost-{len(self.faults)}.png"), self.screen.image()[..., :3])
            self.settle()
            fault.gap = max((gap for at, gap in self.screen.seen.gaps if at + gap > fault.at), default=0.0)
            self.faults.append(fault)
            self.sample()
            print(f"{time.monotonic() - self.began:7.1f} s  {kind:<34} {fault.recovered}  {fault.gap:.2f}", flush=True)

    def live(self, since: float | None = None) -> bool:
        """Wait for a new picture of the camera later than `since`; whether one came in time."""
        since, end = since or time.monotonic(), time.monotonic() + LIMIT
        while self.screen.seen.live <= since:
            if time.monotonic() > end or self.app.poll() is not None:
                return False
            time.sleep(0.005)
        self._back = self.screen.seen.live
        return True

    def settle(self) -> None:
        """Until the picture has come without a pause for a while."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end and self.app.poll() is None:
            last = self.screen.seen.gaps[-1][0] if self.screen.seen.gaps else 0.0
            now = time.monotonic()
            if now - last > CALM and now - self.screen.seen.live < 0.2:
                return
            time.sleep(0.05)

    def sample(self) -> None:
        with contextlib.suppress(psutil.Error):
            memory = self.process.memory_full_info().uss / 2**20
            self.samples.append((time.monotonic(), memory, self.process.num_fds(), self.process.num_threads()))

    def pause(self, least: float, most: float) -> None:
        time.sleep(self.random.uniform(least, most))

    def _serve(self) -> None:
        """A server in a process of its own, at the same port each time."""
        script = f"scripts/{self._server_kind}_server.py"
        command = [sys.executable, script, str(self._port), f"{SIZE[0]}x{SIZE[1]}"]
        self._server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        assert self._server.stdout is not None
        self._port = int(self._server.stdout.readline())

    def close(self, minutes: float) -> Outcome:
        """End everything; what has come of the `minutes` that were asked for."""
        hours, status = (time.monotonic() - self.began) / 3600, self._ended()
        command = f"python scripts/soak.py --minutes {minutes:g} --seed {self.seed}"
        if self.only:
            command += f" --only {shlex.join(self.only)}"
        log = (self.folder / "log").read_text(encoding="utf-8")
        count, broken = segments(self.disk)
        if self.mounted:
            subprocess.run(["umount", "-l", self.disk], capture_output=True)
        return Outcome(
            command, hours, status, self.faults, self.samples, self.screen.seen, count, broken, recorded(log)
        )

    def _ended(self) -> int:
        """The program's exit status, once everything is over."""
        self.screen.ended = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self.app.send_signal(signal.SIGTERM)
        try:
            status = self.app.wait(40)
        except subprocess.TimeoutExpired:
            self.app.kill()
            status = self.app.wait()
        if self._server is not None:
            self._server.kill()
            self._server.wait(10)
        self.screen.close()
        self.log.close()
        return status


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=amounts.amount, default=2.0, help="of faults [2]")
    parser.add_argument("--seed", type=int, default=1, help="the same faults again with the same [1]")
    parser.add_argument("--only", nargs="+", default=(), metavar="KIND", help="of faults, as the report has them [all]")
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="write the tables here too")
    parser.add_argument("--json", type=Path, metavar="FILE.json", help="write every fault here")
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="keep the program's log, and the screen of what failed"
    )
    options = parser.parse_args(arguments)
    try:
        results.check(options.report, options.json, options.log)
        with workplace() as folder:
            soak = Soak(folder, options.seed, options.only)
            try:
                soak.run(options.minutes)
                soak.settle()
            finally:
                outcome = soak.close(options.minutes)
                if options.log:
                    results.write(options.log, (folder / "log").read_text(encoding="utf-8"))
                    for picture in folder.glob("lost-*.png"):
                        shutil.copy(picture, options.log.parent)
        promises = judge(outcome)
        text = report(outcome, promises)
        print(text)
        if options.report:
            results.write(options.report, text)
        if options.json:
            told = {"faults": [vars(fault) for fault in soak.faults], "samples": soak.samples}
            results.write_json(options.json, told)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if all(promise.kept is not False for promise in promises) else 1


if __name__ == "__main__":
    sys.exit(main())
