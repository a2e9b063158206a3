"""A camera that records, its segments, a file that another program holds open, and a disk of its own."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from app.config.schema import RecordingConfig
from app.pipeline.frame import Frame, Origin, OutputFrame
from app.sinks.recording.next_segment import SegmentTimeouts
from app.sinks.recording.retention import SEGMENT
from app.sinks.recording.segmented import SegmentedRecorder

ROOT = Path(__file__).parents[2]
LIMIT = 60.0
NOISES = np.random.default_rng(0).integers(0, 256, (8, 160, 160, 3), np.uint8)
NOISE = NOISES[0]


def settings(folder: Path, **options: Any) -> RecordingConfig:
    return RecordingConfig(folder=folder, reserve_mb=0, **({"segment": 600} | options))


def segments(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if SEGMENT.fullmatch(path.name))


def frames(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0) if frame.time is not None]


class Camera:
    """Gives a recorder a picture every 20 ms, as a pipeline does, and remembers the longest a picture took."""

    def __init__(self, sink: SegmentedRecorder) -> None:
        self.sink, self.longest, self.count = sink, 0.0, 0
        self.origin = Origin.LIVE
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        began = time.monotonic()
        while not self._over.wait(0.02):
            now = time.monotonic()
            image = NOISES[self.count % len(NOISES)]
            frame = Frame(image, self.count, now, now - began, origin=self.origin)
            self.sink.write(OutputFrame(image, frame))
            self.longest = max(self.longest, time.monotonic() - now)
            self.count += 1

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()
        self.sink.close()

    def until(self, true: Callable[[], object]) -> None:
        end = time.monotonic() + LIMIT
        while not true():
            assert time.monotonic() < end, f"not within {LIMIT} s; {self.sink.problem}"
            time.sleep(0.02)


def started(folder: Path, timeouts: SegmentTimeouts | None = None, **options: Any) -> Camera:
    return Camera(SegmentedRecorder(settings(folder, **options), fps=50, lossless=False, timeouts=timeouts))


HOLDER = """
import sys
from pathlib import Path
from app.sinks.recording.fragment_file import FragmentFile
with FragmentFile(Path(sys.argv[1])) as file:
    file.write(bytes(int(sys.argv[2])) + b"moof")
    print("open", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def open_elsewhere(path: Path, size: int = 0) -> Iterator[None]:
    """Another program records to `path`, and has written `size` bytes."""
    command = [sys.executable, "-c", HOLDER, str(path), str(size)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "open\n"
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def disk(path: Path, size: str) -> Iterator[None]:
    """A small disk of its own at `path`; needs root."""
    path.mkdir(exist_ok=True)
    if not shutil.which("mount"):
        pytest.skip("a disk cannot be mounted here: there is no mount; the same is tested without root below")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a disk cannot be mounted here: {done.stderr.strip()}; the same is tested without root below")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", path], check=True)
