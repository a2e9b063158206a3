"""Time an engine looped on one frame, the same network in PyTorch, and the whole app in a process."""

from __future__ import annotations

import copy
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil

from app.sources import open_source
from app.system.malloc_trim import find_glibc_function
from engines.base import Engine, Image
from engines.errors import UserError
from scripts.common.checkout import ROOT

APP_START_TIMEOUT_S = 120.0
"""Seconds that the app may take beyond the run itself: imports, compiling the network, closing."""


class BenchError(UserError):
    """Something that is to be measured does not run."""


def noise(size: tuple[int, int]) -> Image:
    """Return the frame that is looped; what it shows does not matter to a convolution."""
    return np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)


class EngineLoop:
    """An engine that a thread feeds with one frame again and again, as app.pipeline.pipeline does."""

    def __init__(self, engine: Engine[None], frame: Image) -> None:
        self.spec = engine.spec
        self._engine, self._frame = engine, frame
        self.busy: list[float] = []
        """Milliseconds the engine worked for each frame, of all rounds."""

    def _submit(self, count: int) -> None:
        for _ in range(count):
            if not self._engine.reserve():
                return
            self._engine.submit(self._frame, None)

    def frames(self, count: int) -> float:
        """Run `count` frames, at least two; return milliseconds a frame.

        Raises EngineError, TimeoutError.
        """
        submitter = threading.Thread(target=self._submit, args=(count,), daemon=True)
        submitter.start()
        try:
            times = []
            for _ in range(count):
                done = self._engine.collect(timeout=60)
                assert done is not None  # nobody finishes or cancels this engine
                times.append(time.perf_counter())
                self.busy.append(done[2] * 1000)
        except BaseException:
            self._engine.cancel()
            raise
        finally:
            submitter.join(60)
        return (times[-1] - times[0]) / (count - 1) * 1000

    def alone(self, count: int) -> float:
        """Return the median of `count` times from submit() to the result, in ms, with one frame in flight."""
        times = []
        for _ in range(count):
            self._engine.reserve()
            begun = time.perf_counter()
            self._engine.submit(self._frame, None)
            self._engine.collect(timeout=60)
            times.append(time.perf_counter() - begun)
        return statistics.median(times) * 1000

    def seconds(self, seconds: float) -> float:
        """Run as many frames as take about `seconds`; return milliseconds a frame."""
        return self.frames(max(5, round(seconds * 1000 / self.frames(3))))


M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Of glibc's malloc.h."""


def keep_memory() -> None:
    """Let this process reuse whatever it frees, as with the allocators that PyTorch's tuning guide advises.

    glibc gives blocks as large as a tensor back to the system, not always and not of every size, and then each 4 KB of
    the next one costs a page fault. So eager PyTorch takes 58 or 104 milliseconds for the same frame of balanced-x2 on
    one machine, and 49 or 150 of fast-x4, by chance (two cores of an AMD EPYC, 640x360); with this it always gets the
    better.
    """
    if mallopt := find_glibc_function("mallopt"):
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


class EagerLoop:
    """The network of an .onnx file in PyTorch as one would write it, bytes in and bytes out as in the engine.

    It computes in fp32, or with `half` in fp16 where PyTorch thinks it fit (autocast). On a GPU the frame is copied
    there and the result back; on a processor this process keeps its memory from now on.
    """

    def __init__(
        self,
        model: Path,
        frame: Image,
        threads: int,
        *,
        device: str = "cpu",
        half: bool = False,
        compiled: bool = False,
    ) -> None:
        """Raises BenchError where PyTorch does not see the GPU."""
        import torch

        from scripts.common.network import Contract
        from scripts.conversion.exporter import network_from_onnx

        if device == "cuda" and not torch.cuda.is_available():
            raise BenchError(
                "PyTorch does not see the GPU",
                f"PyTorch {torch.__version__}",
                "Install NVIDIA's build for this machine.",
            )
        torch.set_num_threads(threads)
        if device == "cpu":
            keep_memory()
        plain = Contract(network_from_onnx(model)).eval().to(device)
        self._torch, self._input, self._device, self._half = torch, torch.from_numpy(frame[None]), device, half
        trials: dict[str, tuple[float, Any]] = {}
        # Which layout is faster depends on the processor; PyTorch gets the better one.
        for self.layout, form in (("contiguous", torch.contiguous_format), ("channels_last", torch.channels_last)):
            laid = copy.deepcopy(plain).to(memory_format=form)  # type: ignore[call-overload]
            self._network = torch.compile(laid) if compiled else laid
            self.frames(2)
            trials[self.layout] = self.frames(5), self._network
        self.layout = min(trials, key=lambda name: trials[name][0])
        self._network = trials[self.layout][1]

    def frames(self, count: int) -> float:
        """Run `count` frames; return the mean milliseconds a frame, as EngineLoop does."""
        torch = self._torch
        with torch.inference_mode(), torch.autocast(self._device, torch.float16, enabled=self._half):
            begun = time.perf_counter()
            for _ in range(count):
                self._network(self._input.to(self._device)).cpu().numpy()  # waits for the GPU
            return (time.perf_counter() - begun) / count * 1000

    def seconds(self, seconds: float) -> float:
        """Run as many frames as take about `seconds`; return milliseconds a frame."""
        return self.frames(max(5, round(seconds * 1000 / self.frames(1))))


def alternate(loops: Sequence[Callable[[], float]], rounds: int) -> list[list[float]]:
    """Return the results of each of `loops`, called in turn `rounds` times.

    That way a noisy neighbour disturbs all of them alike.
    """
    results: list[list[float]] = [[] for _ in loops]
    for _ in range(rounds):
        for loop, kept in zip(loops, results, strict=True):
            kept.append(loop())
    return results


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Return how many times faster `fast` is: the median over the rounds, each compared with its neighbour in time."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def make_clip(path: Path, size: tuple[int, int], frames: int) -> Path:
    """Write a film of the demo's scene, H.264 at 30 fps, to `path`, and return it."""
    source = open_source(camera=None, source="demo", size=size, fps=240.0, loop=False)
    try:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "20"})
            stream.width, stream.height, stream.pix_fmt = size[0], size[1], "yuv420p"
            for number, frame in zip(range(frames), source, strict=False):
                picture = av.VideoFrame.from_ndarray(frame.image, format="bgr24")
                picture.pts, picture.time_base = number, Fraction(1, 30)
                container.mux(stream.encode(picture))
                frame.release()
            container.mux(stream.encode(None))
    finally:
        source.close()
    return path


@dataclass(frozen=True)
class AppRun:
    """One run of the app: its --stats and its resident memory over time."""

    stats: dict[str, Any]
    memory: list[tuple[float, int]]
    """Time in seconds and bytes, ten times a second, from start to end of the process."""


def run_app(arguments: Sequence[str], limit: float) -> AppRun:
    """Run `python -m app.run` with `arguments`, headless.

    Raises BenchError if it fails or takes over `limit` seconds beyond APP_START_TIMEOUT_S.
    """
    with tempfile.TemporaryDirectory() as folder:
        stats, errors = Path(folder, "stats.json"), Path(folder, "errors.txt")
        command = [sys.executable, "-m", "app.run", "--headless", "--quiet", "--stats", str(stats), *arguments]
        memory: list[tuple[float, int]] = []
        with errors.open("w") as log, subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as process:
            watched, until = psutil.Process(process.pid), time.monotonic() + limit + APP_START_TIMEOUT_S
            try:
                while process.poll() is None and time.monotonic() < until:
                    memory.append((time.monotonic(), resident(watched)))
                    time.sleep(0.1)
            finally:
                process.kill()  # harmless once it has ended
        if process.returncode or not stats.exists():
            facts = (
                errors.read_text().strip()
                or f"it ended with {process.returncode} after {limit + APP_START_TIMEOUT_S:g} s at most"
            )
            raise BenchError("The app has failed", facts, f"Try it by hand: {' '.join(command)}")
        return AppRun(json.loads(stats.read_text()), memory)


def resident(process: psutil.Process) -> int:
    """Return the bytes of `process` in memory; 0 once it has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def growth(run: AppRun, early: int, late: int) -> float:
    """Return the MiB by which memory grew from `early` frames to `late` frames of a run.

    When a frame was shown is known from the steady rate, counted back from the end of the process; each of the two
    values is the median over a tenth of `early` frames before and after.
    """
    samples = [sample for sample in run.memory if sample[1]]
    begun = samples[-1][0] - run.stats["seconds"]
    rate = run.stats["fps_out"]

    def around(frame: int) -> float:
        near = [size for moment, size in samples if abs((moment - begun) * rate - frame) <= early * 0.2]
        nearest = min(samples, key=lambda sample: abs((sample[0] - begun) * rate - frame))[1]
        return statistics.median(near or [nearest])

    return (around(late) - around(early)) / 2**20
