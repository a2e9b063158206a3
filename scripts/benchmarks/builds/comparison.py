"""Compare this build with another one: both in turns, each in processes of its own.

Another build is driven by what stays the same from build to build: `python -m app.run ... --stats FILE` and its own
`scripts/bench.py --only engine --json FILE`.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.benchmarks import timing
from scripts.benchmarks.builds.build import Build, find_build, this_build
from scripts.benchmarks.builds.driver import QUANTITIES, WARM_UP_FRAMES, BuildDriver, ComparisonSettings, Quantity
from scripts.common.machine import machine

FILM_FRAMES = 90
ROUND_FRAMES = 150
"""Of the film in each round: with fewer, its processor time is mostly that of the start."""
MAX_ROUND_FACTOR = 4.0
"""How many times longer than asked for a round may take to have that many frames."""
BUSY_LOAD_PER_CORE = 2.0
"""Load for each core above which other work must have disturbed what the clock says; a build alone makes about 1."""


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
            "A ratio above 1: this build is the better one. It is the median of the ratios of all rounds; `of bests`",
            "is the quotient of each build's best value.",
            "",
            f"{'':<32} {self.this.name:>10} {self.other.name[:12]:>12} {'':<4}"
            f" {'ratio':>7}   {'min .. max':<14} {'of bests':>9}",
        ]
        for model in dict.fromkeys(comparison.model for comparison in self.measured):
            lines += [model, *(str(each) for each in self.measured if each.model == model)]
        if max(self.load) > BUSY_LOAD_PER_CORE * about["cores"]:
            lines.append("The machine was busy with other work: clock times are uncertain, processor times less so.")
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


def _described(build: Build) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in build.versions.items())
    return f"{build.name}: {build.revision or build.folder}; {build.environment}; {versions}"


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
