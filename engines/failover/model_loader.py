"""The models that a switcher may want next, loaded beside the engine in use by a thread of low priority."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from engines.errors import EngineError
from engines.failover.candidates import Candidate, CandidateList
from engines.failover.engine import FailoverEngine
from engines.support.backoff import Backoff
from engines.support.event_log import log_event
from engines.support.priority import low_priority

log = logging.getLogger(__name__)

RELOAD_AFTER_S = 30.0
"""Until a model that could not be loaded is tried again."""


class SwitchRung(NamedTuple):
    """One model, and the engines that can run it; none of them: bicubic."""

    name: str
    candidates: Sequence[Candidate]


class ModelLoader:
    """Keeps those rungs loaded that are wanted, once the engine in use works, and frees the others.

    Rungs are given by their index. All methods may be called from any thread. Locks: the loader's own is never taken
    with the FailoverEngine's held, but the other way round.
    """

    def __init__(self, rungs: Sequence[SwitchRung], reload_after: float, on_load: Callable[[], None]) -> None:
        """Want nothing yet; wake() may be called from now on.

        Args:
            rungs: All models.
            reload_after: Seconds until a model that could not be loaded is tried again.
            on_load: Called, with no lock held, by the loading thread after each load.
        """
        self._rungs, self._on_load = rungs, on_load
        self._lock = threading.Condition()
        self._ending = False  # guarded by _lock, as are the next four lines
        self._wanted: set[int] = set()
        self._ready: dict[int, CandidateList] = {}
        self._errors: dict[int, EngineError] = {}
        self._backoffs = [Backoff(reload_after) for _ in rungs]
        self._failover: FailoverEngine[Any] | None = None
        self._thread = threading.Thread(target=self._load_wanted, name="model loader", daemon=True)

    def start(self, failover: FailoverEngine[Any]) -> None:
        """Begin to load, for `failover`, what is wanted. Called once, before any method but wake()."""
        self._failover = failover
        self._thread.start()

    def wake(self) -> None:
        """Have the thread look again: another engine is in use, or none. The FailoverEngine's lock is not held."""
        with self._lock:
            self._lock.notify_all()

    def want(self, wanted: set[int]) -> None:
        """Have these rungs ready and drop the others."""
        with self._lock:
            self._wanted = wanted
            unwanted = [self._ready.pop(index) for index in list(self._ready) if index not in wanted]
            self._lock.notify_all()
        for prepared in unwanted:
            self._drop(prepared)

    def request(self, index: int) -> bool:
        """Have this rung ready, too; return whether it is."""
        with self._lock:
            self._wanted.add(index)
            self._lock.notify_all()
            return index in self._ready

    def loaded(self, index: int) -> CandidateList | None:
        """Return a rung that is ready, which stays the loader's; None if it is not ready."""
        with self._lock:
            return self._ready.get(index)

    def take_error(self, index: int) -> EngineError | None:
        """Return why a rung could not be loaded, and forget it."""
        with self._lock:
            return self._errors.pop(index, None)

    def take(self, index: int) -> CandidateList | None:
        """Hand over a rung, empty if it is not ready, and want nothing any more; None after the end.

        The caller says what it wants next when it has changed to that rung.
        """
        with self._lock:
            if self._ending:
                return None
            self._wanted.clear()  # what is taken here is not to be loaded once more
            return self._ready.pop(index, None) or CandidateList(())

    def keep(self, index: int, prepared: CandidateList) -> None:
        """Take over a rung that was in use, until want() drops it or take() hands it over."""
        with self._lock:
            self._ready[index] = prepared

    def end(self) -> None:
        """Load nothing more, and hand nothing over."""
        with self._lock:
            self._ending = True
            self._lock.notify_all()

    def join(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for a load that is going on when the end comes."""
        self._thread.join(timeout)

    def _drop(self, prepared: CandidateList) -> None:
        assert self._failover is not None  # nothing is ready before start()
        self._failover.drop(prepared)

    def _load_wanted(self) -> None:
        failover = self._failover
        assert failover is not None
        while (index := self._missing(failover)) is not None:
            prepared: CandidateList | None = None
            try:
                with low_priority():
                    prepared = failover.prepare(self._rungs[index].candidates)
            except EngineError as error:
                with self._lock:
                    self._errors[index] = error
                    self._backoffs[index].failed(time.monotonic())
                name, reason = self._rungs[index].name, error.facts or error.problem
                message = "%(model)s cannot be loaded: %(reason)s"
                log_event(log, logging.INFO, "model_load_failed", message, model=name, reason=reason)
            self._on_load()
            with self._lock:
                if prepared is not None and index in self._wanted and not self._ending:
                    self._ready[index], prepared = prepared, None
                    self._errors.pop(index, None)
            if prepared is not None:
                failover.drop(prepared)

    def _missing(self, failover: FailoverEngine[Any]) -> int | None:
        """The rung to be loaded now, the smallest first, once the engine in use works; None at the end."""
        with self._lock:
            while not self._ending:
                now = time.monotonic()
                absent = sorted(self._wanted - set(self._ready)) if failover.works else []
                if due := [index for index in absent if self._backoffs[index].due(now)]:
                    return due[0]
                self._lock.wait(min((self._backoffs[index].wait(now) for index in absent), default=None))
        return None
