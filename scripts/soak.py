#!/usr/bin/env python3
"""Run the real kiosk and break something every few seconds.

  python scripts/soak.py --minutes 60 --seed 1

The program has its window on an Xvfb, a fake camera (scripts/kiosk/fake_camera.py), real MJPEG and RTSP servers, its
engine in its own process, and records onto a small disk. The screen is read from the X server's memory, so that the
program's own figures need not be trusted. Writes a report (--report FILE.md); the exit status is 0 if every promise was
kept. Linux only; faults of the disk need root, and are left out otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import cv2
import psutil

from engines.errors import UserError
from scripts.common import results
from scripts.common.arguments import positive_number
from scripts.kiosk.faults import FAULTS, FaultInjector
from scripts.kiosk.rig import KioskRig
from scripts.kiosk.small_disk import SmallDisk
from scripts.kiosk.verdict import Fault, SoakOutcome, judge, recorded, report, segments


class SoakError(UserError):
    """The faults that were asked for cannot be injected here."""


class Soak:
    """A rig, and one fault after another."""

    def __init__(self, folder: Path, seed: int, only: Sequence[str] = ()) -> None:
        """`only` names the faults to inject, instead of all. Raises SoakError."""
        if unknown := sorted(set(only) - FAULTS.keys()):
            raise SoakError(f"There is no fault {unknown[0]!r}", f"there are: {', '.join(map(repr, FAULTS))}")
        self.folder, self.seed, self.only = folder, seed, only
        self.disk = SmallDisk(folder / "disk")
        self.kinds = [
            kind for kind in FAULTS if (not only or kind in only) and (self.disk.mounted or not kind.startswith("disk"))
        ]
        if not self.kinds:
            raise SoakError(
                "Faults of the disk need root", "a small disk is mounted for them", "Name others in --only."
            )
        self.random = random.Random(seed)
        self.rig = KioskRig(folder, self.disk.path)
        self.injector = FaultInjector(self.rig, self.disk, self.random)
        self.samples: list[tuple[float, float, int, int]] = []

    def run(self, minutes: float) -> None:
        """Inject faults until the time is over or the program has ended."""
        rig, faults = self.rig, self.injector.injected
        rig.live()
        until = rig.began + 60 * minutes
        order: list[str] = []
        while time.monotonic() < until and rig.app.poll() is None:
            if not order:  # every kind once, in another order each time
                order = self.random.sample(self.kinds, len(self.kinds))
            kind = order.pop()
            fault = Fault(kind, time.monotonic())
            if kind.startswith("engine"):
                rig.engine()  # a fault of an engine that is not in use is none
                fault.at = time.monotonic()
            repaired = FAULTS[kind](self.injector)
            if (back := rig.live(since=repaired)) is not None:
                fault.recovered = max(0.0, back - repaired)
            else:
                cv2.imwrite(str(self.folder / f"lost-{len(faults)}.png"), rig.screen.image()[..., :3])
            rig.settle()
            fault.gap = max((gap for at, gap in rig.screen.seen.gaps if at + gap > fault.at), default=0.0)
            faults.append(fault)
            self.sample()
            print(f"{time.monotonic() - rig.began:7.1f} s  {kind:<34} {fault.recovered}  {fault.gap:.2f}", flush=True)

    def sample(self) -> None:
        """Note the program's memory, files and threads."""
        process = self.rig.process
        with contextlib.suppress(psutil.Error):
            memory = process.memory_full_info().uss / 2**20
            self.samples.append((time.monotonic(), memory, process.num_fds(), process.num_threads()))

    def close(self, minutes: float) -> SoakOutcome:
        """End everything; return what came of the `minutes` that were asked for."""
        hours, status = (time.monotonic() - self.rig.began) / 3600, self.rig.close()
        command = f"python scripts/soak.py --minutes {minutes:g} --seed {self.seed}"
        if self.only:
            command += f" --only {shlex.join(self.only)}"
        log = (self.folder / "log").read_text(encoding="utf-8")
        count, broken = segments(self.disk.path)
        self.disk.close()
        faults, seen = self.injector.injected, self.rig.screen.seen
        return SoakOutcome(command, hours, status, faults, self.samples, seen, count, broken, recorded(log))


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Yield a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=positive_number, default=2.0, help="how long to inject faults [2]")
    parser.add_argument("--seed", type=int, default=1, help="seed; the same one gives the same faults [1]")
    parser.add_argument(
        "--only", nargs="+", default=(), metavar="KIND", help="kinds of faults, named as in the report [all]"
    )
    parser.add_argument("--report", type=Path, metavar="FILE.md", help="also write the tables to this file")
    parser.add_argument("--json", type=Path, metavar="FILE.json", help="write every fault to this file")
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="keep the program's log here, and screenshots of what failed beside it"
    )
    options = parser.parse_args(arguments)
    try:
        results.check(options.report, options.json, options.log)
        with workplace() as folder:
            soak = Soak(folder, options.seed, options.only)
            try:
                soak.run(options.minutes)
                soak.rig.settle()
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
            measured = {"faults": [vars(fault) for fault in outcome.faults], "samples": outcome.samples}
            results.write_json(options.json, measured)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0 if all(promise.kept is not False for promise in promises) else 1


if __name__ == "__main__":
    sys.exit(main())
