"""Compare this build with another one: both in turns, each in processes of its own.

Another build is driven by what stays the same from build to build: `python -m app.run ... --stats FILE` and its own
`scripts/bench.py --only engine --json FILE`.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scripts.benchmarks import timing
from scripts.benchmarks.builds import Build, BuildError, find_build, this_build
from scripts.benchmarks.measured_child import ChildError, Usage
from scripts.common.machine import machine

COMPARED_PARTS = ("engine", "app", "start", "memory")
DEFAULT_MODEL = "fast-x2-int8"
DEFAULT_ROUNDS = 7
DEFAULT_MEASUREMENT_S = 3.0
"""For each measurement: with DEFAULT_ROUNDS rounds of all parts a model takes three to five minutes on two cores."""
FILM_FRAMES = 90
WARM_UP_FRAMES = 30
ROUND_FRAMES = 150
"""Of the film in each round: with fewer, its processor time is mostly that of the start."""
MAX_ROUND_FACTOR = 4.0
"""How many times longer than asked for a round may take to have that many frames."""
BUSY_LOAD_PER_CORE = 2.0
"""Load for each core above which other work must have disturbed what the clock says; a build alone makes about 1."""
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


@dataclass
class ComparedQuantity:
    """The values of one quantity with one model in both builds, round by round."""

    model: str
    quantity: Quantity
    this: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)

    @property
    def ratios(self) -> list[float]:
        """How many times better this build was in each round, compared with its own neighbour in time."""
        pairs = zip(self.this, self.other, strict=False)  # the last round may have been broken off
        return [a / b if self.quantity.more_is_better else b / a for a, b in pairs]

    @property
    def best_ratio(self) -> float:
        """The ratio of the best value that each build ever had.

        A busy machine disturbs it least.
        """
        if self.quantity.more_is_better:
            return max(self.this) / max(self.other)
        return min(self.other) / min(self.this)

    def __str__(self) -> str:
        ratios = self.ratios
        this, other = statistics.median(self.this), statistics.median(self.other)
        return (
            f"{self.quantity.name:<32} {this:>10.2f} {other:>12.2f} {self.quantity.unit:<4}"
            f" {statistics.median(ratios):>7.3f}   {min(ratios):.3f} .. {max(ratios):.3f} {self.best_ratio:>9.3f}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the values and ratios, for --json."""
        ratios = self.ratios
        return {
            "model": self.model,
            "part": self.quantity.part,
            "name": self.quantity.name,
            "unit": self.quantity.unit,
            "more_is_better": self.quantity.more_is_better,
            "this": self.this,
            "other": self.other,
            "ratios": ratios,
            "ratio": {
                "median": statistics.median(ratios),
                "min": min(ratios),
                "max": max(ratios),
                "of_bests": self.best_ratio,
            },
        }


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


class BuildComparison:
    """Compares this build with the one that `settings` name.

    What was measured is kept when a part fails.
    """

    def __init__(self, settings: ComparisonSettings) -> None:
        """Raises BuildError if there is no such build or it does not start."""
        self.settings = settings
        self.this = this_build()
        self.other = find_build(settings.other)
        self.comparisons: list[ComparedQuantity] = []
        self.notes: list[str] = []
        self.load = [_load()]
        """Processes that waited for a core or had one, at the start and at the end."""

    def run(self) -> None:
        """Measure everything. Raises ChildError of the build that fails."""
        settings = self.settings
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            film = (
                settings.clip.absolute()
                if settings.clip
                else timing.make_clip(work / "film.mkv", settings.size, FILM_FRAMES)
            )
            drivers = [
                BuildDriver(build, settings, film, work / str(number)) for number, build in enumerate(self.builds)
            ]
            alike = "engine" not in settings.parts or all(driver.has_engine_bench() for driver in drivers)
            if not alike:
                self.notes.append(
                    "engine: the time inside the app, of its --stats, as not both builds have scripts/bench.py"
                    " --only engine --json"
                )
            for model in self._models():
                self._compare(model, drivers, alike)
        self.load.append(_load())

    @property
    def builds(self) -> tuple[Build, Build]:
        """This build and the other one."""
        return self.this, self.other

    @property
    def measured(self) -> list[ComparedQuantity]:
        """The quantities that both builds have at least one value of."""
        return [comparison for comparison in self.comparisons if comparison.ratios]

    def _models(self) -> Iterator[str]:
        """Yield the models that both builds have; note the others."""
        for model in self.settings.models:
            missing = [build.name for build in self.builds if not build.has_model(model)]
            if missing:
                self.notes.append(f"{model}: not compared, as it is missing from {' and '.join(missing)}")
            else:
                yield model

    def _compare(self, model: str, drivers: list[BuildDriver], engine_bench: bool) -> None:
        settings = self.settings
        warm = [driver.warm_up(model) for driver in drivers]
        files = [stats["engine"].get("model") for stats in warm]
        if files[0] != files[1]:
            self.notes.append(f"{model}: {files[0]} in {self.this.name}, {files[1]} in {self.other.name}")
        planned = settings.seconds * warm[0]["fps_out"]
        frames = round(max(WARM_UP_FRAMES, planned, min(ROUND_FRAMES, MAX_ROUND_FACTOR * planned)))
        probes: list[Callable[[BuildDriver], dict[Quantity, float]]] = []
        if "engine" in settings.parts and engine_bench:
            probes.append(lambda driver: driver.engine(model))
        if "start" in settings.parts:
            probes.append(lambda driver: driver.start(model))
        if {"app", "memory"} & set(settings.parts) or not engine_bench:
            probes.append(lambda driver: driver.film(model, frames, with_engine=not engine_bench))
        kept = {
            quantity: ComparedQuantity(model, quantity) for quantity in QUANTITIES if quantity.part in settings.parts
        }
        self.comparisons += kept.values()
        for number in range(settings.rounds):
            print(f"{model}: round {number + 1} of {settings.rounds}", file=sys.stderr, flush=True)
            for probe in probes:
                for driver, values in zip(drivers, ("this", "other"), strict=True):
                    for quantity, value in probe(driver).items():
                        if quantity in kept:
                            getattr(kept[quantity], values).append(value)

    def table(self) -> str:
        """Return what is printed at the end.

        That is the machine, the builds, and each quantity of both with the ratio and its spread.
        """
        settings, about = self.settings, machine()
        lines = [
            f"{about['processor']}, {about['cores']} cores, {about['memory_gib']} GiB; {about['system']}",
            f"load {' -> '.join(f'{load:.1f}' for load in self.load)}",
            *(_described(build) for build in self.builds),
            f"{settings.size[0]}x{settings.size[1]}, {settings.engine}, {settings.threads} threads; medians of"
            f" {settings.rounds} rounds of {settings.seconds:g} s, in turns",
            "A ratio above 1: this build is the better one. It is the median of the rounds' own ratios; `of bests` is",
            "the quotient of each build's best value.",
            "",
            f"{'':<32} {self.this.name:>10} {self.other.name[:12]:>12} {'':<4}"
            f" {'ratio':>7}   {'min .. max':<14} {'of bests':>9}",
        ]
        for model in dict.fromkeys(comparison.model for comparison in self.measured):
            lines += [model, *(str(each) for each in self.measured if each.model == model)]
        if max(self.load) > BUSY_LOAD_PER_CORE * about["cores"]:
            lines.append(
                "The machine was busy with other work: what the clock says is uncertain, processor time less so."
            )
        return "\n".join([*lines, *self.notes])

    def as_dict(self) -> dict[str, Any]:
        """Return everything that was measured, for --json."""
        settings = self.settings
        return {
            "machine": machine() | {"load": self.load},
            "builds": {
                role: {
                    "name": build.name,
                    "revision": build.revision,
                    "folder": str(build.folder),
                    "environment": build.environment,
                    "python": str(build.python),
                    "versions": build.versions,
                }
                for role, build in zip(("this", "other"), self.builds, strict=True)
            },
            "settings": {
                "size": list(settings.size),
                "threads": settings.threads,
                "seconds": settings.seconds,
                "rounds": settings.rounds,
                "engine": settings.engine,
                "models": list(settings.models),
                "parts": list(settings.parts),
                "clip": str(settings.clip or "demo"),
            },
            "comparisons": [comparison.as_dict() for comparison in self.measured],
            "notes": self.notes,
        }


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
            f"The build {build.name} does not tell what is to be compared",
            f"Its {name} has no {'.'.join(keys) or 'figures'}.",
            "Compare with another build, or other parts: --only.",
        ) from None
    return value


def _described(build: Build) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in build.versions.items())
    return f"{build.name}: {build.revision or build.folder}; {build.environment}; {versions}"


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
