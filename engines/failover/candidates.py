"""An engine that may be had, how it has done so far, and the lineup of those that stand in for one another."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from engines.base import Spec
from engines.errors import EngineError
from engines.slot_engine import SlotEngine


class Candidate(NamedTuple):
    """An engine to be had: `load` makes it, or raises EngineError, in at most some seconds."""

    name: str
    load: Callable[[], SlotEngine[Any]]
    patience: float = 0.25
    """Seconds an answer may take before the picture goes on without it; 0.25 keeps a fault under 300 ms."""


@dataclasses.dataclass(frozen=True)
class Retry:
    """When a failed engine is tried again, in seconds, and when the next of the list is taken."""

    first: float = 0.1
    longest: float = 1.0
    """The pause after a failure doubles from `first` to `longest`."""
    failures: int = 3
    within: float = 20.0
    """`failures` within so many seconds, and the next engine is taken; so long without one, and all is forgotten."""


class CandidateHealth:
    """How one choice has done."""

    def __init__(self, choice: Candidate, rank: int) -> None:
        self.choice, self.rank = choice, rank
        self.failed: deque[float] = deque(maxlen=64)
        self.due = 0.0
        self.told = ""

    def fail(self, error: EngineError, retry: Retry, now: float, spent: float = 0.0) -> None:
        """`spent`: seconds that it took to fail, which do not count: loads that hang for minutes fail in a row too."""
        self.failed = deque((moment + spent for moment in self.failed), self.failed.maxlen)
        while self.failed and now - self.failed[0] > retry.within:
            self.failed.popleft()
        self.failed.append(now)
        self.due = now + float(min(retry.longest, retry.first * 2.0 ** min(len(self.failed) - 1, 30)))
        self.told = f"{self.choice.name} is away: {error.facts or error.problem}; trying again"

    def often(self, retry: Retry, now: float) -> bool:
        return sum(now - moment <= retry.within for moment in self.failed) >= retry.failures


class ActiveEngine:
    """A loaded engine, and how many slots still use its buffers."""

    def __init__(self, engine: SlotEngine[Any], record: CandidateHealth) -> None:
        self.engine, self.record = engine, record
        self.spec = engine.spec
        self.holders = 0
        self.unanswered: set[int] = set()
        self.failed = self.freed = False
        self.refused = 0  # frames in a row
        self.why = ""
        self.last_done = 0.0


def with_reason(spec: Spec, state: str) -> Spec:
    """`spec`, with the reason why it is not the first choice's."""
    return spec if spec.state == state else dataclasses.replace(spec, state=state)


class CandidateList:
    """Choices that stand in for one another, the most wanted first, and the engine of theirs that is loaded."""

    def __init__(self, choices: Sequence[Candidate]) -> None:
        """Without choices the picture is made by bicubic interpolation."""
        self.records = [CandidateHealth(choice, rank) for rank, choice in enumerate(choices)]
        self.primary: ActiveEngine | None = None
