"""One engine over a ladder of models, which goes from one model to the next between two frames.

A policy decides when; see app/governor/policy.py. The smallest model is always loaded, so that going down takes no time
when the machine has none, and goes as far as it may have to; the next larger one is loaded when the policy asks for it,
by a thread of low priority, and tried out before it is used. No frame is lost and none overtakes another: frames that
are in the model before come out of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol

import numpy as np

from engines.base import OK, Condition, EngineState, Image, Slot, Spec, T
from engines.errors import EngineError
from engines.failover.candidates import LoadStatus, Retry
from engines.failover.engine import SHUTDOWN_TIMEOUT_S, FailoverEngine
from engines.failover.model_loader import RELOAD_AFTER_S, ModelLoader, SwitchRung

if TYPE_CHECKING:
    from engines.catalog.ladder import Rung

log = logging.getLogger(__name__)

DECISION_PERIOD_S = 0.1
"""Between two questions to the policy."""
COST_WINDOW_S, MIN_COST_FRAMES = 0.8, 3
"""What a frame costs is the mean over so many seconds, of so many frames at least."""
COST_EXPIRY_S = 5.0
"""After how long a frame's cost says nothing about now."""
TRIAL_FRAMES = 5
"""A larger model makes so many pictures that nobody sees, to find out what it costs."""
MIN_TRIAL_S = 0.4
"""How long they take together at least. One at once after the other: who pauses in between gets more of a busy
processor than is his share, and more than later."""
TRIAL_TIMEOUT_S = 2.0
"""How long one of them may take."""
NO_MODEL_FITS = EngineState(Condition.REDUCED, "no model keeps the rate here")


class SwitchPolicy(Protocol):
    """Decides when the model changes. Rungs are given by their index, the smallest model's first.

    begin() is called by the thread that makes the switcher, all else by the switcher's one thread.
    """

    def begin(self, rungs: Sequence[Rung], index: int) -> None:
        """Note that a new engine over these models begins with number `index`."""

    def decide(self, index: int, busy: float | None) -> int:
        """Return 1 to go to the next larger model, -1 to go down, 0 to stay with `index`.

        `busy`: seconds the engine works for a frame just now; None: not known; infinite: it has failed.
        The answer is asked for again until the model wanted is loaded.
        """

    def accepts(self, index: int, seconds: float) -> bool:
        """Return whether to go up to `index`, which took `seconds` a frame beside the engine in use."""

    def failed(self, index: int, error: EngineError) -> None:
        """Note that the larger model that was asked for cannot be loaded."""

    def stepped(self, index: int) -> None:
        """Note that from the next frame on `index` makes the picture."""


class ModelSwitcher(Generic[T]):
    """An Engine that changes the candidates of a FailoverEngine, which it owns; `index` is the rung in use."""

    def __init__(
        self,
        rungs: Sequence[SwitchRung],
        size: tuple[int, int],
        policy: SwitchPolicy,
        *,
        first: int,
        scale: int | None,
        output: tuple[int, int] | None = None,
        depth: int,
        retry: Retry | None = None,
        status: LoadStatus | None = None,
        cancel: Callable[[], None] | None = None,
        decision_period: float = DECISION_PERIOD_S,
        min_trial: float = MIN_TRIAL_S,
        trial_timeout: float = TRIAL_TIMEOUT_S,
        reload_after: float = RELOAD_AFTER_S,
        shutdown_timeout: float = SHUTDOWN_TIMEOUT_S,
    ) -> None:
        """Begin with rung `first`, a network, as FailoverEngine does, and start the threads that load and switch.

        Args:
            rungs: All models, smallest first, all of one scale.
            size: Width and height of the input.
            policy: Decides when to switch.
            first: The index of the rung to begin with.
            scale: As FailoverEngine has it, like `depth`, `retry` and `status`.
            output: As FailoverEngine has it.
            depth: Frames in flight.
            retry: When failed engines are tried again.
            status: Where the candidates say how far their loads have come.
            cancel: Ends, at the end, a load that takes long.
            decision_period: Seconds between two questions to the policy.
            min_trial: Seconds that a trial of a larger model takes at least.
            trial_timeout: Seconds that one frame of a trial may take.
            reload_after: Seconds until a model that could not be loaded is tried again.
            shutdown_timeout: Seconds to wait at the end for each thread.

        Raises:
            EngineError: The first rung's, with `scale` None.
        """
        self.index = first  # changed by the switching thread only
        self._rungs, self._policy, self._cancel_load = rungs, policy, cancel
        self._decision_period, self._min_trial, self._trial_timeout = decision_period, min_trial, trial_timeout
        self._shutdown_timeout = shutdown_timeout
        self._costs: deque[tuple[float, float]] = deque(maxlen=256)
        """When a frame was collected, and the seconds it cost. By the collector's thread; others copy or clear it."""
        self._over = threading.Event()
        self._loader = ModelLoader(rungs, reload_after, self._costs.clear)  # loading may cost the picture something
        self._failover: FailoverEngine[T] = FailoverEngine(
            rungs[first].candidates,
            size,
            scale=scale,
            output=output,
            depth=depth,
            retry=retry,
            status=status,
            shutdown_timeout=shutdown_timeout,
            on_change=self._loader.wake,
        )
        self._loader.start(self._failover)
        self._want_spare()
        self._switcher = threading.Thread(target=self._switch, name="model switcher", daemon=True)
        self._switcher.start()

    # An Engine's methods: see engines.base.Engine.

    @property
    def spec(self) -> Spec:
        """What made the picture collected last; before the first, what will."""
        return self._failover.spec

    @property
    def depth(self) -> int:
        """How many slots there are."""
        return self._failover.depth

    @property
    def stages(self) -> Mapping[str, float]:
        """Seconds of the stages of the engine in use. For the collector's thread."""
        return self._failover.stages

    def slot(self, index: int) -> Slot:
        """Return slot `index`."""
        return self._failover.slot(index)

    def reserve(self) -> bool:
        """Block until a slot is free. False: cancelled."""
        return self._failover.reserve()

    def submit(self, image: Image, tag: T) -> None:
        """Start work on `image` in the slot reserved before."""
        self._failover.submit(image, tag)

    def collect(self, timeout: float) -> tuple[Image, T, float] | None:
        """Return the next result, and note what it has cost."""
        result = self._failover.collect(timeout)
        if result is not None:
            self._costs.append((time.monotonic(), result[2]))
        return result

    def finish(self) -> None:
        """End the input."""
        self._failover.finish()

    def cancel(self) -> None:
        """Unblock both sides at once."""
        self._failover.cancel()

    def __enter__(self) -> ModelSwitcher[T]:
        return self

    def __exit__(self, *exception: Any) -> None:
        """Wait for what is in flight, then free everything."""
        self.cancel()
        self._stop()
        self._failover.__exit__(*exception)
        self._drop_all()

    def free(self) -> None:
        """Free everything. No slot is in flight."""
        self._stop()
        self._failover.free()
        self._drop_all()

    # The thread that switches.

    def _switch(self) -> None:
        while not self._over.wait(self._decision_period):
            step = self._policy.decide(self.index, self._cost())
            target = self.index + 1 if step > 0 else self._next_lower() if step < 0 else self.index
            if target == self.index or not 0 <= target < len(self._rungs):
                continue
            if target > self.index and (error := self._loader.take_error(target)):
                self._want_spare()
                self._policy.failed(target, error)
            elif self._is_prepared(target) and (target < self.index or self._passes_trial(target)):
                self._swap(target)

    def _cost(self) -> float | None:
        """What a frame costs just now; see SwitchPolicy.decide()."""
        now = time.monotonic()
        if not self._failover.works:
            failure = self._failover.last_failure
            return float("inf") if failure is not None and now - failure < COST_EXPIRY_S else None
        recent = [entry for entry in list(self._costs) if now - entry[0] < COST_EXPIRY_S]
        fresh = [entry for entry in recent if now - entry[0] < COST_WINDOW_S]
        counted = fresh if len(fresh) >= MIN_COST_FRAMES else recent[-MIN_COST_FRAMES:]
        return sum(busy for _, busy in counted) / len(counted) if len(counted) >= MIN_COST_FRAMES else None

    def _is_prepared(self, index: int) -> bool:
        """Whether a rung can be changed to; from now on the loader sees to that."""
        return not self._rungs[index].candidates or self._loader.request(index)

    def _passes_trial(self, index: int) -> bool:
        """Let a rung, which is loaded, make some pictures that nobody sees; whether the policy takes it."""
        try:
            seconds = self._try_out(index)
        except EngineError as error:
            self._want_spare()
            self._policy.failed(index, error)
            return False
        if seconds and self._policy.accepts(index, sum(seconds) / len(seconds)):
            return True
        if seconds:
            self._want_spare()
        return False

    def _try_out(self, index: int) -> list[float]:
        """The seconds that each picture of a trial took, none at the end of the switcher. Raises EngineError."""
        name, seconds = self._rungs[index].name, list[float]()
        prepared = self._loader.loaded(index)
        active = prepared.active if prepared is not None else None
        if active is None or active.failed:
            raise EngineError(f"{name} is no longer available")
        width, height = self.spec.input
        blank, slot = np.zeros((height, width, 3), np.uint8), active.engine.slot(0)
        while len(seconds) < TRIAL_FRAMES or sum(seconds) < self._min_trial:
            if self._over.is_set():
                return []
            began = time.monotonic()
            active.unanswered.add(0)
            slot.launch(blank)
            try:
                slot.wait(self._trial_timeout)
            except TimeoutError:
                raise EngineError(f"{name} is too slow", f"no answer within {self._trial_timeout:g} s") from None
            active.unanswered.discard(0)
            seconds.append(slot.finished - began)
        return seconds

    def _swap(self, index: int) -> None:
        """Make the picture with a rung from the next frame on."""
        if (prepared := self._loader.take(index)) is None:
            return  # the end
        before = self._failover.swap(prepared, OK if self._rungs[index].candidates else NO_MODEL_FITS)
        if before.active is not None:
            self._loader.keep(self.index, before)
        self.index = index
        self._costs.clear()
        self._want_spare()
        self._policy.stepped(index)

    def _next_lower(self) -> int:
        """Where to go down to: the smallest network, and from there to bicubic, if that is one of the rungs."""
        smallest = next(number for number, rung in enumerate(self._rungs) if rung.candidates)
        return smallest if self.index > smallest else self.index - 1

    def _want_spare(self) -> None:
        """Have that ready, if it has to be loaded, and no other rung."""
        lower = self._next_lower()
        self._loader.want({lower} if lower >= 0 and self._rungs[lower].candidates else set())

    # The end.

    def _stop(self) -> None:
        """Let both threads end; the switching one may be about to change something."""
        self._over.set()
        self._loader.end()
        if self._cancel_load is not None:
            self._cancel_load()
        self._switcher.join(self._shutdown_timeout)

    def _drop_all(self) -> None:
        """Free what is ready, and what the loader may still bring, for a limited time."""
        self._loader.want(set())
        self._loader.join(self._shutdown_timeout)
        self._failover.join_disposals()
