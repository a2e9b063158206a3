"""An engine that goes on by itself while the engines it stands for are late, broken or away.

A supervisor thread keeps the first engine of a list that works, in the background and with growing pauses. A frame goes
to that engine; if its answer is late or fails, the frame is enlarged bicubically from the input it already holds, and
so are the frames after it until an engine is there again. What answers late writes into buffers nobody reads any more.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence

from engines.base import OK, Condition, EngineState, Image, T
from engines.bicubic import spec_for
from engines.errors import EngineError, as_engine_error
from engines.failover.candidates import (
    ActiveEngine,
    Candidate,
    CandidateHealth,
    CandidateList,
    LoadStatus,
    Retry,
    with_state,
)
from engines.failover.slot import FailoverSlot
from engines.slot_engine import SlotEngine
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

DRAIN_TIMEOUT_S = 2.0
"""How long all unanswered frames of an engine that is given up may take before its buffers are freed."""
SHUTDOWN_TIMEOUT_S = 4.0
"""How long the end waits for an engine that is being loaded, and for each that is being freed."""


def _nothing() -> None:
    """Do nothing."""


class FailoverEngine(SlotEngine[T]):
    """An engine over a list of engines, the most wanted first; bicubic while none of them works.

    `spec` is that of the engine that made the picture collected last; its state says why, unless that was the first of
    the list.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        size: tuple[int, int],
        *,
        scale: int | None,
        output: tuple[int, int] | None = None,
        depth: int,
        retry: Retry | None = None,
        status: LoadStatus | None = None,
        drain_timeout: float = DRAIN_TIMEOUT_S,
        shutdown_timeout: float = SHUTDOWN_TIMEOUT_S,
        on_change: Callable[[], None] = _nothing,
    ) -> None:
        """Start the supervisor; with a scale the picture begins at once, bicubic, until an engine of it is there.

        Args:
            candidates: At least one.
            size: Width and height of the input.
            scale: How many times larger the networks make it. With None the first candidate is loaded now, and its
                scale counts.
            output: Width and height of the output; None: the input's, times the scale.
            depth: Frames in flight; each candidate has as many slots at least.
            retry: When failed engines are tried again.
            status: Where the candidates say how far their loads have come.
            drain_timeout: Seconds that the unanswered frames of an engine that is given up may take.
            shutdown_timeout: Seconds to wait at the end for a load, and for each engine that is being freed.
            on_change: Called, with no lock held and by any thread, when an engine has come into use or gone out of it.

        Raises:
            EngineError: The first candidate's, with `scale` None.
        """
        self._retry, self._status, self._on_change = retry or Retry(), status or LoadStatus(), on_change
        self._drain_timeout, self._shutdown_timeout = drain_timeout, shutdown_timeout
        self._lock = threading.Condition()
        self._candidates = CandidateList(candidates, self._retry)  # guarded by _lock, as are the next three lines
        self._state = EngineState(Condition.STARTING, f"{candidates[0].name} is not ready yet")
        self._ending = False
        self._disposals: list[threading.Thread] = []
        first: ActiveEngine | None = None
        if scale is None:
            health = self._candidates.healths[0]
            first = ActiveEngine(as_engine_error(candidates[0].name, candidates[0].load), health)
            scale = first.spec.scale
        self.bicubic_spec = spec_for(size, scale, output)
        """What the picture is made with while there is no engine."""
        super().__init__(
            with_state(self.bicubic_spec, self._state),
            [FailoverSlot(self, index) for index in range(depth)],
            close=self._end,
        )
        if first is not None:
            self._check(first)
            self._candidates.active, self._state, self._spec = first, OK, first.spec
        self._supervisor = threading.Thread(target=self._supervise, name="failover", daemon=True)
        self._supervisor.start()

    def __enter__(self) -> FailoverEngine[T]:
        return self

    def collect(self, timeout: float) -> tuple[Image, T, float] | None:
        """Return the next result; see SlotEngine. `spec` is that of what made it from now on."""
        result = super().collect(timeout)
        if isinstance(self._borrowed, FailoverSlot):
            self._spec = self._borrowed.spec
        return result

    @property
    def state(self) -> EngineState:
        """How the engine in use stands to the first candidate. From any thread."""
        with self._lock:
            return self._current_state()

    @property
    def active(self) -> ActiveEngine | None:
        """The engine in use, None while there is none. From any thread; it may be given up at any time."""
        with self._lock:
            return self._candidates.active

    @property
    def works(self) -> bool:
        """Whether an engine is in use, or bicubic because that was asked for. From any thread."""
        with self._lock:
            return self._candidates.active is not None or not self._candidates.healths

    @property
    def last_failure(self) -> float | None:
        """When a candidate failed last, in seconds of time.monotonic(); None if none has. From any thread."""
        with self._lock:
            return max((health.failures[-1] for health in self._candidates.healths if health.failures), default=None)

    # For the slots (engines.failover.slot.SlotOwner).

    def enter(self) -> tuple[ActiveEngine | None, EngineState]:
        """Return the engine to use, whose buffers stay until leave(), None when there is none; and the state."""
        with self._lock:
            if self._candidates.active is not None:
                self._candidates.active.holders += 1
            return self._candidates.active, self._current_state()

    def leave(self, active: ActiveEngine | None) -> None:
        """Give up what enter() returned."""
        if active is not None:
            with self._lock:
                active.holders -= 1
                self._lock.notify_all()

    def fail(self, active: ActiveEngine, error: EngineError) -> EngineState:
        """Give the engine up, for the first error it is given, and return the state.

        Returns at once; the supervisor does the rest.
        """
        with self._lock:
            if active.failed:
                return active.state
            active.failed = True
            self._note(active.health, error)
            active.state = self._state if active.health.rank else active.health.state
            if self._candidates.active is active:
                self._candidates.active = None
            self._lock.notify_all()
        self._dispose(active)
        self._on_change()
        return active.state

    # For whoever changes between lists of candidates (engines.failover.model_switcher).

    def prepare(self, candidates: Sequence[Candidate]) -> CandidateList:
        """Load the first of `candidates` that works, beside the engine in use and in the caller's thread, for swap().

        Raises:
            EngineError: None of them works; it is the first one's.
        """
        prepared, errors = CandidateList(candidates, self._retry), []
        for health in prepared.healths:
            try:
                prepared.active = self._load(health)
                break
            except EngineError as error:
                errors.append(error)
                health.fail(error, time.monotonic())
        else:
            if errors:
                raise errors[0]
        return prepared

    def swap(self, prepared: CandidateList, state: EngineState = OK) -> CandidateList:
        """Make the picture with `prepared` from the next frame on; `state` says why, if that is not as asked for.

        Returns the list before, which stays loaded until drop(); frames that are in it come out in their turn.
        """
        with self._lock:
            before, self._candidates = self._candidates, prepared
            if prepared.active is not None and prepared.active.failed:
                prepared.active = None
            self._state = state if not state.ok or not prepared.healths else prepared.healths[0].state
            self._lock.notify_all()
        self._on_change()
        return before

    def drop(self, prepared: CandidateList) -> None:
        """Free what prepare() or swap() returned, once no frame is in it any more."""
        active, prepared.active = prepared.active, None
        if active is not None:
            self._dispose(active)

    def join_disposals(self) -> None:
        """Wait, for a limited time, until what has been dropped or given up is freed."""
        with self._lock:
            disposals = self._disposals
        for thread in disposals:
            thread.join(self._shutdown_timeout)

    # The supervisor.

    def _current_state(self) -> EngineState:
        """The state, or how far a load has come while there is no engine. The lock is held."""
        if self._candidates.active is None and self._status.text:
            return EngineState(Condition.STARTING, self._status.text)
        return self._state

    def _note(self, health: CandidateHealth, error: EngineError, spent: float = 0.0) -> None:
        """That a candidate has failed. The lock is held."""
        level = logging.WARNING if health.state.ok else logging.DEBUG
        health.fail(error, time.monotonic(), spent)
        if health in self._candidates.healths[:1]:
            self._state = health.state
        name, reason = health.candidate.name, error.facts or error.problem
        log_event(log, level, "engine_lost", "%(engine)s is away: %(reason)s; trying again", engine=name, reason=reason)

    def _supervise(self) -> None:
        while (health := self._next()) is not None:
            began = time.monotonic()
            try:
                active = self._load(health)
            except EngineError as error:
                with self._lock:
                    self._note(health, error, time.monotonic() - began)
            else:
                self._publish(active)

    def _load(self, health: CandidateHealth) -> ActiveEngine:
        """Load a candidate. Raises EngineError."""
        try:
            active = ActiveEngine(as_engine_error(health.candidate.name, health.candidate.load), health)
        finally:
            self._status.text = ""
        self._check(active)
        return active

    def _next(self) -> CandidateHealth | None:
        """The candidate to be loaded now, as soon as there is one; None at the end."""
        with self._lock:
            while not self._ending:
                now = time.monotonic()
                wanted = []
                active = self._candidates.active
                for health in self._candidates.healths[: None if active is None else active.health.rank]:
                    wanted.append(health)
                    if not health.fails_often(now):
                        break  # those behind it have their turn when it has failed often
                ready = next((health for health in wanted if health.backoff.due(now)), None)
                if ready is not None:
                    return ready
                self._lock.wait(min((health.backoff.wait(now) for health in wanted), default=None))
        return None

    def _check(self, active: ActiveEngine) -> None:
        """Raise EngineError, with the engine freed, if it does not make the picture that is being shown."""
        spec, depth, wanted = active.spec, active.engine.depth, self.bicubic_spec
        if (spec.input, spec.output) == (wanted.input, wanted.output) and depth >= self.depth:
            return
        active.engine.free()
        raise EngineError(
            f"{active.health.candidate.name} makes pictures of another size",
            f"{spec} in {depth} slots; wanted is {wanted.output} in {self.depth}",
            "Use models of the same scale.",
        )

    def _publish(self, active: ActiveEngine) -> None:
        """Make the picture with an engine that has been loaded, unless it is not wanted any more."""
        with self._lock:
            if self._ending or active.health not in self._candidates.healths:  # swapped while it was being loaded
                superfluous: ActiveEngine | None = active
            else:
                superfluous, self._candidates.active = self._candidates.active, active
                self._announce(active)
            self._lock.notify_all()
        if superfluous is not None:
            self._dispose(superfluous)
        self._on_change()

    def _announce(self, active: ActiveEngine) -> None:
        """Log that it is in use. The lock is held."""
        if active.health.rank == 0:
            self._state = OK
        if not active.health.state.ok:
            log_event(log, logging.WARNING, "engine_back", "%(engine)s is back", engine=active.spec)
            active.health.state = OK
        elif active.health.rank:
            message = "%(engine)s takes over (%(reason)s)"
            log_event(log, logging.WARNING, "engine_takes_over", message, engine=active.spec, reason=self._state)
        else:
            log_event(log, logging.INFO, "engine_ready", "%(engine)s", engine=active.spec)

    def _dispose(self, active: ActiveEngine) -> None:
        """Free an engine once no slot holds on to it, in a thread of its own: a hung one must hold up nothing."""

        def dispose() -> None:
            with self._lock:
                self._lock.wait_for(lambda: not active.holders)
            until = time.monotonic() + self._drain_timeout
            for index in list(active.unanswered):
                with contextlib.suppress(TimeoutError, EngineError):
                    active.engine.slot(index).wait(max(0.0, until - time.monotonic()))
            active.engine.free()

        thread = threading.Thread(target=dispose, name="failover disposal", daemon=True)
        with self._lock:
            if active.freed:  # given up while frames were still in it, which then failed
                return
            active.freed = True
            thread.start()  # before anybody may want to join it
            self._disposals = [*(old for old in self._disposals if old.is_alive()), thread]

    def _end(self) -> None:
        """After all slots are closed: stop the supervisor, free the engine in use and those still being freed."""
        with self._lock:
            self._ending = True
            current, self._candidates = self._candidates, CandidateList(())
            self._lock.notify_all()
        self.drop(current)
        self._supervisor.join(self._shutdown_timeout)  # it may be in the middle of loading one
        self.join_disposals()
