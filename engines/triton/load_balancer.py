"""Several equal engines behind one; each frame goes to the one with the fewest in flight."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from engines.base import Engine, Image
from engines.errors import EngineError, FrameRefusedError, as_engine_error
from engines.slot_engine import SlotEngine
from engines.support.backoff import Backoff
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

BACKEND_RETRY_S = 1.0
"""Between two attempts at a backend that is away."""


class Backend:
    """One of the engines. All attributes but the name and `load` are guarded by the pool's lock."""

    def __init__(self, name: str, load: Callable[[], Engine[Any]], retry_after: float) -> None:
        """`load` makes the engine or raises EngineError; `retry_after`: seconds between two attempts."""
        self.name, self.load = name, load
        self.engine: Engine[Any] | None = None
        """None while it is away."""
        self.in_flight = self.launched = 0
        self.error: EngineError | None = None
        self.backoff = Backoff(retry_after)


class BackendPool:
    """Knows who is there. A thread for each backend looks for it while it is away."""

    def __init__(self, loads: Mapping[str, Callable[[], Engine[Any]]], retry_after: float = BACKEND_RETRY_S) -> None:
        """Load all backends at once, by their names.

        Raises:
            EngineError: None of them can be loaded; it is the first one's.
        """
        self._backends = [Backend(name, load, retry_after) for name, load in loads.items()]
        self._shutdown_timeout = BACKEND_RETRY_S
        self._lock = threading.Condition()
        self._holders: Counter[Engine[Any]] = Counter()  # guarded by _lock
        """How many slots are in an engine, which is not freed under them."""
        self._ending = False  # guarded by _lock
        with ThreadPoolExecutor(len(self._backends)) as threads:
            list(threads.map(self._try, self._backends))
        self.first = next((backend.engine for backend in self._backends if backend.engine), None)
        if self.first is None:
            assert self._backends[0].error is not None
            raise self._backends[0].error
        self._threads = [
            threading.Thread(target=self._look, args=(backend,), name="load balancer", daemon=True)
            for backend in self._backends
        ]
        for thread in self._threads:
            thread.start()

    def _try(self, backend: Backend) -> None:
        """Load a backend, or note why that fails."""
        try:
            engine = as_engine_error(backend.name, backend.load)
        except EngineError as error:
            if backend.error is None:
                log_lost(backend, error)
            with self._lock:
                backend.error = error
                backend.backoff.failed(time.monotonic())
            return
        with self._lock:
            if not self._ending:
                backend.engine, backend.in_flight = engine, 0
                for other in self._backends:  # else it would have every frame, until it has had as many as the others
                    other.launched = 0
                if backend.error is not None:
                    log_event(log, logging.WARNING, "server_back", "%(server)s is back", server=backend.name)
                backend.error = None
                return
        engine.free()

    def _look(self, backend: Backend) -> None:
        """Load the backend again whenever it is away. A thread for each: one that hangs keeps no other away."""
        while True:
            with self._lock:
                while not self._ending:
                    now = time.monotonic()
                    if backend.engine is None and backend.backoff.due(now):
                        break
                    self._lock.wait(backend.backoff.wait(now) if backend.engine is None else None)
                if self._ending:
                    return
            self._try(backend)

    def pick(self) -> tuple[Backend, Engine[Any]]:
        """Return the backend with the fewest frames in flight, of several the one that has had the fewest.

        Raises:
            EngineError: All of them are away.
        """
        with self._lock:
            usable = [backend for backend in self._backends if backend.engine is not None]
            if not usable:
                raise next(backend.error for backend in self._backends if backend.error is not None)
            backend = min(usable, key=lambda each: (each.in_flight, each.launched))
            backend.in_flight += 1
            backend.launched += 1
            assert backend.engine is not None
            self._holders[backend.engine] += 1
            return backend, backend.engine

    def release(self, backend: Backend, engine: Engine[Any]) -> None:
        """Note that a frame that pick() was asked for has left the engine, whose buffers it does not use any more."""
        with self._lock:
            if backend.engine is engine:
                backend.in_flight -= 1
            self._holders[engine] -= 1
            self._lock.notify_all()

    def is_down(self, backend: Backend, engine: Engine[Any]) -> bool:
        """Return whether mark_down() was called."""
        with self._lock:
            return backend.engine is not engine

    def mark_down(self, backend: Backend, engine: Engine[Any], error: EngineError) -> None:
        """Leave a backend out until it is found again."""
        with self._lock:
            if backend.engine is not engine:
                return
            backend.engine, backend.error = None, error
            backend.backoff.failed(time.monotonic())
            self._lock.notify_all()
        log_lost(backend, error)
        threading.Thread(target=self._dispose, args=(engine,), name="load balancer disposal", daemon=True).start()

    def _dispose(self, engine: Engine[Any]) -> None:
        """Free an engine once no frame is in it."""
        with self._lock:
            # At the end no slot is waited for any more: one whose frame was given up gives nothing back.
            self._lock.wait_for(lambda: self._ending or not self._holders[engine])
            self._holders.pop(engine, None)
        engine.free()

    def end(self) -> None:
        """Free all backends. No slot is in flight."""
        with self._lock:
            self._ending = True
            self._lock.notify_all()
            engines = [backend.engine for backend in self._backends if backend.engine]
            for backend in self._backends:
                backend.engine = None
        for engine in engines:
            engine.free()
        until = time.monotonic() + self._shutdown_timeout
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))


def log_lost(backend: Backend, error: EngineError) -> None:
    """Log that `backend` gets no more frames until it is back."""
    reason = error.facts or error.problem
    log_event(
        log, logging.WARNING, "server_lost", "%(server)s gets no frames: %(reason)s", server=backend.name, reason=reason
    )


class BalancedSlot:
    """One frame at whichever backend it was given to; one that fails or is late passes it on to another."""

    def __init__(self, pool: BackendPool, index: int, frame_timeout: float) -> None:
        """`frame_timeout`: seconds after which the frame goes to another backend."""
        self._pool, self._index, self._frame_timeout = pool, index, frame_timeout
        # For the thread that has the slot: the submitter until launch() returns, then the collector.
        self._holder: tuple[Backend, Engine[Any]] | None = None
        self._until = 0.0
        assert pool.first is not None
        self.input = pool.first.slot(index).input
        self.finished = 0.0

    def launch(self, image: Image) -> None:
        """Copy `image`, uint8 [H, W, 3], into a backend. Raises EngineError when all of them are away."""
        while True:
            backend, engine = self._pool.pick()
            try:
                engine.slot(self._index).launch(image)
            except EngineError as error:
                self._pool.mark_down(backend, engine, error)
                self._pool.release(backend, engine)
                continue
            self._holder, self._until = (backend, engine), time.monotonic() + self._frame_timeout
            self.input = engine.slot(self._index).input
            return

    def wait(self, timeout: float) -> Image:
        """Return the backend's picture. Raises TimeoutError; EngineError when all of them are away."""
        until = time.monotonic() + timeout
        while True:
            if self._holder is None:  # nobody was there when it was passed on
                self.launch(self.input)
            assert self._holder is not None
            backend, engine = self._holder
            slot, now = engine.slot(self._index), time.monotonic()
            down = self._pool.is_down(backend, engine)
            try:
                image = slot.wait(0.0 if down else max(0.0, min(until, self._until) - now))
            except TimeoutError:
                if not down and time.monotonic() < self._until:
                    raise
                late = f"no answer within {self._frame_timeout * 1000:.0f} ms"
                self._pool.mark_down(backend, engine, EngineError(f"{backend.name} is late", late))
                self._pass_on()
            except FrameRefusedError:  # it has to be borne: to pass it on would load the others until they refuse, too
                self._holder = None
                self._pool.release(backend, engine)
                raise
            except EngineError as error:
                self._pool.mark_down(backend, engine, error)
                self._pass_on()
            else:
                self._pool.release(backend, engine)
                self.finished = slot.finished
                return image

    def _pass_on(self) -> None:
        """Give the frame to another backend, from the input that lies in this one."""
        assert self._holder is not None
        before, self._holder = self._holder, None
        try:
            self.launch(self.input)
        finally:
            self._pool.release(*before)

    def close(self) -> None:
        """Do nothing: the backends' own slots are closed with them."""


def balanced(
    loads: Mapping[str, Callable[[], Engine[Any]]],
    depth: int,
    *,
    frame_timeout: float,
    drain_timeout: float | None = None,
    retry_after: float = BACKEND_RETRY_S,
) -> Engine[Any]:
    """Return an engine over those backends that can be loaded.

    Args:
        loads: Makes each of them, by its name.
        depth: Frames in flight; each backend has as many slots.
        frame_timeout: Seconds after which a frame goes to another backend.
        drain_timeout: As SlotEngine has it.
        retry_after: Seconds between two attempts at a backend that is away.

    Raises:
        EngineError: None of them can be loaded; it is the first one's.
    """
    pool = BackendPool(loads, retry_after)
    assert pool.first is not None
    spec = replace(pool.first.spec, device=", ".join(loads))
    slots = [BalancedSlot(pool, index, frame_timeout) for index in range(depth)]
    return SlotEngine(spec, slots, drain_timeout=drain_timeout, close=pool.end)
