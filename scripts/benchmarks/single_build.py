"""Measure this build alone: its engine, its app, its start, latency and memory."""

from __future__ import annotations

import importlib.util
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import engines
from engines.base import Spec
from engines.catalog import shipped as catalog
from engines.errors import one_line
from engines.isolation import engine as isolation
from engines.request import EngineRequest, OpenVinoOptions
from scripts.benchmarks import timing
from scripts.benchmarks.measured_child import measure_child
from scripts.common.checkout import ROOT
from scripts.common.figure import FIGURE_HEADER, Figure
from scripts.common.machine import machine

BENCH_PARTS = ("engine", "eager", "isolate", "app", "start", "latency", "memory")
MEMORY_TEST_SIZE = (160, 90)  # the size for memory: 5,000 frames go through in a minute
EARLY_FRAMES, LATE_FRAMES = 500, 5000
MIN_LATENCY_FRAMES = 400
FIRST_TENSORRT_SPEEDUP = 3.2
"""How many times faster than eager PyTorch the first version was on a Jetson, with TensorRT: 24 against 7.5 fps."""
EAGER_FP32 = "PyTorch eager fp32"
"""What there is a goal against; other ways of running PyTorch are reported beside it."""
CAMERA_FPS = 30.0
"""Frames a second of a usual camera. At higher rates drawing the demo costs more of the cores than the app does."""


@dataclass(frozen=True)
class BenchSettings:
    """What is measured, and for how long."""

    size: tuple[int, int] = (640, 360)
    threads: int = 1
    seconds: float = 10.0
    rounds: int = 5
    engine: str = "openvino"
    model: str = "fast"
    clip: Path | None = None
    parts: tuple[str, ...] = BENCH_PARTS
    folder: Path = field(default=Path(), repr=False)

    @property
    def app(self) -> list[str]:
        """The app's options for the same engine."""
        return ["--engine", self.engine, "--model", self.model, "--threads", str(self.threads)]


class Bench:
    """Measures what `settings` ask for.

    `figures` are for the table, `details` for readers who want to check them.
    """

    def __init__(self, settings: BenchSettings) -> None:
        self.settings = settings
        self.figures: list[Figure] = []
        self.details: dict[str, Any] = {}
        self.notes: list[str] = []
        self._frame_ms = 0.0

    def run(self) -> None:
        """Run all parts in their order.

        Raises UserError of the part that fails; the figures measured before it are kept.
        """
        settings = self.settings
        with self._loop(settings.model) as loop:
            self._against_eager(loop)
            if "isolate" in settings.parts:
                self._isolate(loop)
            if "app" in settings.parts:
                self._app(loop)
        if "start" in settings.parts:
            self._start()
        if "latency" in settings.parts:
            self._latency()
        if "memory" in settings.parts:
            self._memory()

    @contextmanager
    def _loop(self, model: str) -> Iterator[timing.EngineLoop]:
        """Yield a warm engine in a loop on the noise frame."""
        settings = self.settings
        with engines.load(
            EngineRequest(settings.engine, model, settings.size, openvino=OpenVinoOptions(threads=settings.threads))
        ) as engine:
            loop = timing.EngineLoop(engine, timing.noise(settings.size))
            loop.frames(10)
            loop.busy.clear()
            yield loop

    def _against_eager(self, loop: timing.EngineLoop) -> None:
        """Compare the engine, with the file it chose and with the fp32 one, with the network in PyTorch."""
        settings, plain = self.settings, str(catalog.find(self.settings.model))
        self.details["engine"] = asdict(loop.spec)
        eager = self._eager(Path(plain), loop.spec) if "eager" in settings.parts else {}
        share = settings.seconds / settings.rounds
        with self._loop(plain) as exact:
            other = [exact] if exact.spec.model != loop.spec.model else []
            runs = [loop.seconds, *(each.seconds for each in other), *(each.seconds for each in eager.values())]
            times = timing.alternate([partial(run, share) for run in runs], settings.rounds)
        self._frame_ms = statistics.median(times[0])
        self.details["engine_ms"] = {
            "rounds": times[0],
            "p50": percentile(loop.busy, 50),
            "p99": percentile(loop.busy, 99),
        }
        self.figures += [
            Figure("engine, ms a frame", self._frame_ms, "ms"),
            Figure("engine, frames a second", 1000 / self._frame_ms, "fps"),
        ]
        name = f"the same with {exact.spec.model}, {exact.spec.precision}"
        if other:
            self.details["exact_ms"] = {"engine": asdict(exact.spec), "rounds": times[1]}
            self.figures.append(Figure(f"{name}, ms a frame", statistics.median(times[1]), "ms"))
        goal = FIRST_TENSORRT_SPEEDUP if loop.spec.name == "tensorrt" else 4.0
        for (rival, its), rounds in zip(eager.items(), times[1 + len(other) :], strict=True):
            self.details.setdefault("eager_ms", {})[rival] = {"rounds": rounds, "layout": its.layout}
            self.figures.append(Figure(f"{rival}, ms a frame", statistics.median(rounds), "ms"))
            faster, wanted = timing.ratio(rounds, times[0]), goal if rival == EAGER_FP32 else None
            self.figures.append(Figure(f"engine against {rival}", faster, "x", wanted))
            if other:
                self.figures.append(Figure(name, timing.ratio(rounds, times[1]), "x"))

    def _eager(self, plain: Path, spec: Spec) -> dict[str, timing.EagerLoop]:
        """Return the network in PyTorch under the names that the table has for it; empty where it cannot run.

        It is on the GPU if the engine is.
        """
        if not (importlib.util.find_spec("torch") and importlib.util.find_spec("onnx")):
            self.notes.append("left out: eager, as PyTorch or onnx is not installed (pip install -e '.[train]')")
            return {}
        frame, threads = timing.noise(self.settings.size), self.settings.threads
        if spec.name != "tensorrt":
            return {EAGER_FP32: timing.EagerLoop(plain, frame, threads)}
        eager_loop = partial(timing.EagerLoop, plain, frame, threads, device="cuda")
        try:
            return {
                EAGER_FP32: eager_loop(),
                "PyTorch eager fp16": eager_loop(half=True),
                "torch.compile fp16": eager_loop(half=True, compiled=True),
            }
        except timing.BenchError as error:
            self.notes.append(f"left out: eager: {one_line(error)}")
            return {}

    def _isolate(self, loop: timing.EngineLoop) -> None:
        settings = self.settings
        with isolation.load(
            EngineRequest(
                settings.engine, settings.model, settings.size, openvino=OpenVinoOptions(threads=settings.threads)
            )
        ) as engine:
            apart = timing.EngineLoop(engine, timing.noise(settings.size))
            apart.frames(10)  # warm
            share = settings.seconds / settings.rounds
            times = timing.alternate([lambda: loop.seconds(share), lambda: apart.seconds(share)], settings.rounds)
            count = max(5, round(share * 1000 / times[0][0] / 2))
            alone = timing.alternate([lambda: loop.alone(count), lambda: apart.alone(count)], settings.rounds)
        slower = statistics.median(far / near - 1 for near, far in zip(*times, strict=True))
        later = statistics.median(far - near for near, far in zip(*alone, strict=True))
        self.details["isolate_ms"] = {"throughput": times, "alone": alone}
        self.figures += [
            Figure("in a process of its own: slower by", 100 * slower, "%", 3.0, at_least=False),
            Figure("in a process of its own: later by", later, "ms", 1.0, at_least=False),
        ]

    def _app(self, loop: timing.EngineLoop) -> None:
        settings = self.settings
        clip = (
            settings.clip.absolute()
            if settings.clip
            else timing.make_clip(settings.folder / "clip.mkv", settings.size, 90)
        )
        share = settings.seconds / settings.rounds
        frames = max(20, round(share * 1000 / self._frame_ms))
        arguments = [*settings.app, "--source", str(clip), "--loop", "--frames", str(frames)]
        bare, app = [loop.seconds(share)], []
        for _ in range(settings.rounds):
            app.append(1000 / timing.run_app(arguments, limit=10 * settings.seconds).stats["fps_out"])
            bare.append(loop.seconds(share))
        # Each run of the app against the engine just before and after it: the machine's own speed drifts.
        ratios = [(before + after) / 2 / app_ms for before, after, app_ms in zip(bare, bare[1:], app, strict=False)]
        self.details["app_ms"] = {"bare": bare, "app": app, "ratios": ratios, "clip": str(settings.clip or "demo")}
        self.figures += [
            Figure("app on a file, frames a second", 1000 / statistics.median(app), "fps"),
            Figure("app against the bare engine", statistics.median(ratios), "x", 0.9),
        ]

    def _start(self) -> None:
        settings = self.settings
        size = f"{settings.size[0]}x{settings.size[1]}"
        demo = ["--source", "demo", "--size", size, "--headless", "--quiet", "--frames", "1"]
        command = [sys.executable, "-m", "app.run", *settings.app, *demo]
        start = partial(measure_child, command, name="The app", cwd=ROOT, limit_s=timing.APP_START_TIMEOUT_S)
        start()  # fills the caches
        runs = [start() for _ in range(settings.rounds)]
        self.details["start_s"] = {"wall": [run.wall_s for run in runs], "cpu": [run.cpu_s for run in runs]}
        self.figures += [
            Figure("start and one frame, clock", statistics.median(run.wall_s for run in runs), "s"),
            Figure("start and one frame, processor", statistics.median(run.cpu_s for run in runs), "s"),
        ]

    def _latency(self) -> None:
        settings, rate = self.settings, min(CAMERA_FPS, round(700 / self._frame_ms, 1))
        width, height = settings.size
        # Of fewer frames than some hundred, p99 is the start alone, when frames wait for the network to be compiled.
        frames = max(MIN_LATENCY_FRAMES, round(settings.seconds * rate))
        live = ["--source", "demo", "--size", f"{width}x{height}", "--fps", str(rate), "--frames", str(frames)]
        stats = timing.run_app([*settings.app, *live], limit=3 * frames / rate).stats
        added = stats["latency_ms"]["p99"] - stats["engine"]["ms_p99"]
        if stats["frames_dropped"] > 0.04 * frames:  # some frames come while the engine is being loaded
            self.notes.append(
                f"latency: {stats['frames_dropped']} frames were dropped, so the machine did not hold this rate, or was"
                " busy with something else: the figure shows waiting, not the app"
            )
        self.details["latency"] = {"asked_fps": rate, "stats": stats}
        self.figures += [
            Figure(f"capture to shown at {rate:g} fps, p99", stats["latency_ms"]["p99"], "ms"),
            Figure("added to the engine's own p99", added, "ms", 8.0, at_least=False),
        ]

    def _memory(self) -> None:
        settings, clip = self.settings, timing.make_clip(self.settings.folder / "small.mkv", MEMORY_TEST_SIZE, 90)
        arguments = [*settings.app, "--source", str(clip), "--loop", "--frames", str(LATE_FRAMES)]
        run = timing.run_app(arguments, limit=600)
        grown = timing.growth(run, EARLY_FRAMES, LATE_FRAMES)
        self.details["memory"] = {"stats": run.stats, "seconds_and_bytes": run.memory}
        self.figures.append(
            Figure(f"growth of memory from frame {EARLY_FRAMES} to {LATE_FRAMES}", grown, "MiB", 5.0, at_least=False)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return everything that was measured, for --json."""
        settings = asdict(self.settings) | {"clip": str(self.settings.clip or "demo")}
        del settings["folder"]
        return {
            "machine": machine(),
            "settings": settings,
            "figures": [asdict(figure) | {"met": figure.met} for figure in self.figures],
            "notes": self.notes,
            "details": self.details,
        }


def percentile(values: list[float], which: float) -> float:
    """Return the `which`-th percentile of `values`, rounded to three decimals."""
    return round(float(np.percentile(values, which)), 3)


def table(result: Bench) -> str:
    """Return what is printed at the end."""
    about, settings = machine(), result.settings
    spec = result.details["engine"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return "\n".join(
        [
            f"{about['processor']}, {about['cores']} cores, {about['memory_gib']} GiB; {about['system']}",
            f"Python {about['python']}, {versions}",
            f"{settings.size[0]}x{settings.size[1]}, {settings.threads} threads, {spec['name']}, {spec['model']}"
            f" {spec['precision']}",
            f"on {spec['device']}",
            "",
            FIGURE_HEADER,
            *map(str, result.figures),
            *result.notes,
        ]
    )
