"""The findings of scripts/quality.py, before anything is written."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from scripts.benchmarks.timing import ratio
from scripts.evaluation.measure import Score


@dataclass
class Finding:
    """One method of enlarging pictures: how good it is and how long it takes."""

    name: str
    """fast-x2, FSRCNN, bicubic."""
    scale: int
    precision: str
    """What it is computed in; empty for what is not a network of ours."""
    scores: dict[str, Score] = field(default_factory=dict)
    """By test set."""
    rounds: list[float] = field(default_factory=list)
    """Milliseconds a frame, one for each round; empty if it was not timed."""
    parameters: int | None = None

    @property
    def ours(self) -> bool:
        """Whether it is a network of this project."""
        return bool(self.precision)

    @property
    def ms(self) -> float | None:
        """The median of the rounds, milliseconds a frame; None if it was not timed."""
        return statistics.median(self.rounds) if self.rounds else None


@dataclass(frozen=True)
class Cleaning:
    """The score of a model on the degraded test set."""

    name: str
    precision: str
    score: Score


@dataclass(frozen=True)
class Flicker:
    """The flicker of a model on a clip, in grey levels."""

    clip: str
    name: str
    precision: str
    deviation: float


@dataclass
class Findings:
    """All findings. `entries` are in the order of the tables."""

    size: tuple[int, int]
    threads: int
    entries: list[Finding] = field(default_factory=list)
    eager: dict[str, list[float]] = field(default_factory=dict)
    """Rounds of PyTorch eager fp32, by model."""
    cleaning: list[Cleaning] = field(default_factory=list)
    degraded: str = ""
    """The set that was degraded."""
    flicker: list[Flicker] = field(default_factory=list)
    clips: dict[str, str] = field(default_factory=dict)
    """Of each clip, what was looked at."""

    def find(self, name: str, precision: str = "", scale: int = 2) -> Finding | None:
        """Return the entry of a model (fast-x2), or of something else at `scale`; None if there is none."""
        return next(
            (e for e in self.entries if (e.name, e.precision) == (name, precision) and (precision or e.scale == scale)),
            None,
        )

    def faster(self, slow: list[float], name: str, precision: str) -> float | None:
        """Return how many times faster a model is than the rounds in `slow`, measured in turns.

        None if it was not timed.
        """
        entry = self.find(name, precision)
        return ratio(slow, entry.rounds) if entry and entry.rounds and slow else None
