"""Drive one build by its command lines, to compare it with another one: what is compared, and how it is measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scripts.benchmarks.builds.build import Build, BuildError
from scripts.benchmarks.measured_child import ChildError, Usage

COMPARED_PARTS = ("engine", "app", "start", "memory")
DEFAULT_MODEL = "fast-x2-int8"
DEFAULT_ROUNDS = 7
DEFAULT_MEASUREMENT_S = 3.0
"""For each measurement: with DEFAULT_ROUNDS rounds of all parts a model takes three to five minutes on two cores."""
WARM_UP_FRAMES = 30
HANG_FACTOR = 20.0
"""How many times longer than planned a measurement may take on a busy machine before it counts as hanging."""


@dataclass(frozen=True)
class Quantity:
    """A quantity that is compared."""

    part: str
    name: str
    unit: str
    more_is_better: bool = False


ENGINE_MEDIAN = Quantity("engine", "engine, median of a frame", "ms")
ENGINE_BEST = Quantity("engine", "engine, best tenth", "ms")
APP_RATE = Quantity("app", "app on a film, headless", "fps", more_is_better=True)
APP_CPU = Quantity("app", "app on a film, processor in all", "s")
START_CLOCK = Quantity("start", "start and one frame, clock", "s")
START_CPU = Quantity("start", "start and one frame, processor", "s")
PEAK_MEMORY = Quantity("memory", "app on a film, peak memory", "MiB")
QUANTITIES = (ENGINE_MEDIAN, ENGINE_BEST, APP_RATE, APP_CPU, START_CLOCK, START_CPU, PEAK_MEMORY)


@dataclass(frozen=True)
class ComparisonSettings:
    """What is compared, and for how long."""

    other: str
    """A git ref or a folder."""
    models: tuple[str, ...] = (DEFAULT_MODEL,)
    parts: tuple[str, ...] = COMPARED_PARTS
    size: tuple[int, int] = (640, 360)
    threads: int = 1
    seconds: float = DEFAULT_MEASUREMENT_S
    rounds: int = DEFAULT_ROUNDS
    engine: str = "openvino"
    clip: Path | None = None


class BuildDriver:
    """Drives one build by its command lines, with a cache of compiled networks that no other build touches."""

    def __init__(self, build: Build, settings: ComparisonSettings, film: Path, folder: Path) -> None:
        self.build = build
        self._settings, self._film, self._folder = settings, film, folder
        self._folder.mkdir()

    def has_engine_bench(self) -> bool:
        """Tell whether the build's own bench can measure the engine alone and write the result."""
        if not (self.build.folder / "scripts/bench.py").is_file():
            return False
        try:
            help_text = self.build.run("scripts/bench.py", "--help").output
        except ChildError:
            return False
        return "--only" in help_text and "--json" in help_text

    def warm_up(self, model: str) -> dict[str, Any]:
        """Fill the caches: bytecode, compiled networks, the system's own.

        Returns the figures of the app's --stats.
        """
        self.start(model)
        return self._app(model, WARM_UP_FRAMES, *self._of_film)[0]

    def engine(self, model: str) -> dict[Quantity, float]:
        """Return milliseconds a frame with the engine looped on one frame, by the build's own bench.

        The bench gives one mean for each of its rounds; the values are their median and their 10th percentile.
        """
        settings, file = self._settings, self._folder / "bench.json"
        options = ["--seconds", str(settings.seconds), "--only", "engine", "--json", str(file)]
        self._run("scripts/bench.py", *self._options(model), "--size", self._size, *options)
        rounds = _value(self.build, "scripts/bench.py --json", file, "details", "engine_ms", "rounds")
        return {ENGINE_MEDIAN: float(np.median(rounds)), ENGINE_BEST: float(np.percentile(rounds, 10))}

    def film(self, model: str, frames: int, *, with_engine: bool) -> dict[Quantity, float]:
        """Return the app's rate, processor time and peak memory on the film; `with_engine`, the engine's median.

        Processor time, which other processes disturb less than the clock, is that of the whole process with its start:
        the difference of two small numbers would be noise.
        """
        stats, used = self._app(model, frames, *self._of_film)
        values = {APP_RATE: stats["fps_out"], APP_CPU: used.cpu_s}
        if memory := stats.get("peak_memory_mb") or used.peak_memory_mib:
            values[PEAK_MEMORY] = memory
        if with_engine:
            values[ENGINE_MEDIAN] = _value(self.build, "--stats", self._stats, "engine", "ms_p50")
        return values

    def start(self, model: str) -> dict[Quantity, float]:
        """Return the seconds from the start of the process to its end after one frame of the demo."""
        _, used = self._app(model, 1, "--source", "demo", "--size", self._size)
        return {START_CLOCK: used.wall_s, START_CPU: used.cpu_s}

    @property
    def _size(self) -> str:
        return "x".join(map(str, self._settings.size))

    @property
    def _stats(self) -> Path:
        return self._folder / "stats.json"

    @property
    def _of_film(self) -> tuple[str, ...]:
        return "--source", str(self._film), "--loop"

    def _options(self, model: str) -> list[str]:
        """Options that app and bench have in common."""
        model = str(Path(model).absolute()) if Path(model).is_file() else model
        return ["--engine", self._settings.engine, "--model", model, "--threads", str(self._settings.threads)]

    def _app(self, model: str, frames: int, *source: str) -> tuple[dict[str, Any], Usage]:
        """Run the app once; return its --stats and what it used."""
        self._stats.unlink(missing_ok=True)
        output = ["--headless", "--quiet", "--frames", str(frames), "--stats", str(self._stats)]
        used = self._run("-m", "app.run", *self._options(model), *source, *output)
        for needed in ("fps_out", "engine"):
            _value(self.build, "--stats", self._stats, needed)
        return _value(self.build, "--stats", self._stats), used

    def _run(self, *arguments: str) -> Usage:
        return self.build.run(*arguments, cache=self._folder / "cache", limit_s=HANG_FACTOR * self._settings.seconds)


def _value(build: Build, name: str, file: Path, *keys: str) -> Any:
    """Return the value under `keys` in a file that a build has written, or raise BuildError."""
    try:
        value = json.loads(file.read_text())
        for key in keys:
            value = value[key]
    except (OSError, ValueError, LookupError, TypeError):
        raise BuildError(
            f"The build {build.name} does not report what is to be compared",
            f"Its {name} has no {'.'.join(keys) or 'figures'}.",
            "Compare with another build, or other parts: --only.",
        ) from None
    return value
