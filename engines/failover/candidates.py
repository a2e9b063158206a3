"""An engine that may be had, how it has done so far, and the list of those that stand in for one another."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from engines.base import Condition, Engine, EngineState, Spec
from engines.errors import EngineError
from engines.support.backoff import Backoff


class Candidate(NamedTuple):
    """An engine to be had."""

    name: str
    """For messages."""
    load: Callable[[], Engine[Any]]
    """Makes it, or raises EngineError. Called by a background thread."""
    frame_timeout: float = 0.25
    """Seconds an answer may take before the picture goes on without it; 0.25 keeps a fault under 300 ms."""


class LoadStatus:
    """How far the load of an engine has come, in words. Written by the thread that loads, read by any."""

    def __init__(self) -> None:
        """Begin with nothing to report."""
        self.text = ""
        """Empty while nothing is being loaded that takes long. One reference is replaced at a time: no lock."""


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
    """How one candidate has done. Guarded by the lock of the FailoverEngine that it belongs to."""

    def __init__(self, candidate: Candidate, rank: int, retry: Retry) -> None:
        """`rank`: its place in the list, 0 for the one that is wanted most."""
        self.candidate, self.rank = candidate, rank
        self.backoff = Backoff(retry.first, retry.longest)
        self.failures: deque[float] = deque(maxlen=64)
        """When it failed, seconds of time.monotonic(), the oldest first."""
        self.state = EngineState()
        """OK, or FALLBACK while it is away."""
        self._retry = retry

    def fail(self, error: EngineError, now: float, spent: float = 0.0) -> None:
        """Note a failure.

        `spent`: seconds that it took to fail, which do not count: loads that hang for minutes fail in a row, too.
        """
        self.failures = deque((moment + spent for moment in self.failures), self.failures.maxlen)
        while self.failures and now - self.failures[0] > self._retry.within:
            self.failures.popleft()
        self.failures.append(now)
        self.backoff.failed(now, len(self.failures))
        reason = f"{self.candidate.name} is away: {error.facts or error.problem}; trying again"
        self.state = EngineState(Condition.FALLBACK, reason)

    def fails_often(self, now: float) -> bool:
        """Return whether the next candidate should be taken meanwhile."""
        return sum(now - moment <= self._retry.within for moment in self.failures) >= self._retry.failures


class ActiveEngine:
    """A loaded engine, and how many slots still use its buffers."""

    def __init__(self, engine: Engine[Any], health: CandidateHealth) -> None:
        """`health`: that of the candidate which has loaded it."""
        self.engine, self.health = engine, health
        self.spec = engine.spec
        self.holders = 0  # guarded by the FailoverEngine's lock, as are the next two lines
        self.failed = self.freed = False
        self.state = EngineState()
        """Why it was given up."""
        # By the submitter's and the collector's thread, each for slots of its own; read by the one that frees it.
        self.unanswered: set[int] = set()
        self.refusals = 0  # collector's thread: frames in a row that it has not taken
        self.last_done = 0.0  # collector's thread: when its last frame was finished


def with_state(spec: Spec, state: EngineState) -> Spec:
    """Return `spec` in this state."""
    return spec if spec.state == state else dataclasses.replace(spec, state=state)


class CandidateList:
    """Candidates that stand in for one another, the most wanted first, and the engine of theirs that is loaded."""

    def __init__(self, candidates: Sequence[Candidate], retry: Retry | None = None) -> None:
        """Without candidates the picture is made by bicubic interpolation."""
        retry = retry or Retry()
        self.healths = [CandidateHealth(candidate, rank, retry) for rank, candidate in enumerate(candidates)]
        self.active: ActiveEngine | None = None
