"""Any engine in a process of its own, so that a driver that crashes or hangs takes no picture with it.

Frames lie in shared memory that the child's engine works in directly: launch() copies a frame in, as it would into an
engine of this process, and wait() lends the view that the child wrote. What goes through the socket are slot numbers;
the child's own side is engines/worker.py.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from engines import bicubic, candidates
from engines.base import Image, Spec
from engines.catalog import shipped as catalog
from engines.errors import EngineError
from engines.failover.candidates import Candidate, Retry
from engines.failover.engine import FailoverEngine
from engines.slot_engine import SlotEngine
from engines.support.child_process import EXIT_TIMEOUT_S, ChildProcess
from engines.worker import ANSWER, STAGE_TIME, sizes, views

log = logging.getLogger(__name__)

LOAD_TIMEOUT_S = 1800.0
"""Seconds the child may take to load: an engine that has to be built takes minutes on a small board."""
SILENCE_TIMEOUT_S = 120.0
"""Seconds the child may say nothing while it loads: of a build it tells twice a second; a driver may hang."""
RETRY = Retry(longest=5.0)
SHORT = EXIT_TIMEOUT_S / 10
"""A FailoverEngine's farewell: a child that is still loading, or hangs, is ended by its thread or by our end."""


class EngineProcess:
    """The process, and what is shared with it."""

    def __init__(self, options: dict[str, Any], tell: Callable[[str], None]) -> None:
        """Starts it and waits until its engine is loaded, which `tell` is told of if it takes long.

        Raises EngineError: the child's own, or that it is gone or does not come to an end.
        """
        self._process = ChildProcess("engines.worker")
        self._reading, self._sending = threading.Lock(), threading.Lock()
        self._answers: dict[int, bytes] = {}
        try:
            self.send(json.dumps(options | {"level": log.getEffectiveLevel()}).encode())
            told = self._loaded(tell)
            if "error" in told:
                raise EngineError(*told["error"])
            sizes = {key: tuple(told[key]) for key in ("input", "output")}
            self.spec = Spec(**(told | sizes))
            self.views = self._share(options["depth"])
            self.send(b"go")
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, message: bytes) -> None:
        """Raises EngineError if the child is gone."""
        try:
            with self._sending:
                self._process.link.send_bytes(message)
        except OSError:
            raise self._gone() from None

    def receive(self, timeout: float) -> bytes:
        """The next message. Raises TimeoutError, EngineError."""
        try:
            if not self._process.link.poll(timeout):
                raise TimeoutError
            return self._process.link.recv_bytes()
        except (EOFError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise self._gone() from None

    def answer(self, index: int, timeout: float) -> tuple[float, Mapping[str, float]]:
        """When slot `index` was finished, and the seconds of its stages (engines.base.stages).

        Raises TimeoutError; EngineError of the child's engine, or as it is gone.
        """
        until = time.monotonic() + timeout
        # Whoever waits reads the answers of others along with its own.
        if not self._reading.acquire(timeout=max(0.0, timeout)):
            raise TimeoutError
        try:
            while index not in self._answers:
                message = self.receive(max(0.0, until - time.monotonic()))
                number, _ = ANSWER.unpack_from(message)
                self._answers[number if number >= 0 else -1 - number] = message
            message = self._answers.pop(index)
        finally:
            self._reading.release()
        number, finished = ANSWER.unpack_from(message)
        told = message[ANSWER.size :]
        if number < 0:
            raise EngineError(*json.loads(told))
        return finished, {name.rstrip(b"\0").decode(): seconds for name, seconds in STAGE_TIME.iter_unpack(told)}

    def close(self) -> None:
        """End the process, whatever it is doing, and let go of the memory. Idempotent."""
        self._process.close()
        # The map goes with the last view of it: somebody may still be looking at a picture.

    def _loaded(self, tell: Callable[[str], None]) -> dict[str, Any]:
        """What the child says once its engine is loaded, or has failed to."""
        until = time.monotonic() + LOAD_TIMEOUT_S
        while True:
            left = max(0.0, until - time.monotonic())
            try:
                told: dict[str, Any] = json.loads(self.receive(min(left, SILENCE_TIMEOUT_S)))
            except TimeoutError:
                how = (
                    f"said nothing for {SILENCE_TIMEOUT_S:.0f} s"
                    if left > SILENCE_TIMEOUT_S
                    else f"been loading it for {LOAD_TIMEOUT_S:.0f} s"
                )
                facts = f"its process has {how}"
                raise EngineError("The engine does not load", facts, "Try --engine bicubic.") from None
            if "progress" not in told:
                return told
            tell(told["progress"])

    def _share(self, depth: int) -> list[tuple[Image, Image]]:
        return views(self._process.mapped(depth * sum(sizes(self.spec))), self.spec, depth)

    def _gone(self) -> EngineError:
        return EngineError(
            "The engine's process is gone", self._process.end(), "Its own words, if any, are in the log."
        )


class IsolatedSlot:
    """One slot of the child's engine, and its place in the shared memory."""

    def __init__(self, child: EngineProcess, index: int) -> None:
        self._child, self._index = child, index
        self.input, self._output = child.views[index]
        self.finished = 0.0
        self.stages: Mapping[str, float] = {}

    def launch(self, image: Image) -> None:
        np.copyto(self.input, image)
        self._child.send(self._index.to_bytes(2, "little"))

    def wait(self, timeout: float) -> Image:
        self.finished, self.stages = self._child.answer(self._index, timeout)
        return self._output

    def close(self) -> None:
        pass  # the memory is the child's


class IsolatedEngine(SlotEngine[Any]):
    """Slots whose work is done by a Child."""

    def __init__(self, child: EngineProcess, depth: int) -> None:
        self.child = child
        super().__init__(child.spec, [IsolatedSlot(child, index) for index in range(depth)], close=child.close)

    def __enter__(self) -> IsolatedEngine:
        return self


def load(
    name: str,
    model: str,
    size: tuple[int, int],
    *,
    depth: int = 2,
    tell: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> IsolatedEngine:
    """What engines.load() gives, in a process of its own; `options` are that function's. Raises EngineError.

    `tell` is told, in this thread, how far a load that takes long has come.
    """
    if catalog.is_path(model):
        model = str(Path(model).absolute())  # the child runs in another folder
    return IsolatedEngine(
        EngineProcess(options | {"name": name, "model": model, "size": size, "depth": depth}, tell), depth
    )


def choices(
    names: Sequence[str],
    model: str,
    size: tuple[int, int],
    *,
    deadline: float = 0.25,
    tell: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> list[Candidate]:
    """The engines `names`, each in a process of its own, for a Standby; bicubic, which that one has itself, left out.

    `tell` is told how far a load has come, in the thread that loads; `options` are those of load(). Raises EngineError
    for a name that cannot be right.
    """

    def choice(name: str) -> Candidate:
        told: dict[str, Any] = {"tell": lambda text: tell(f"{name}: {text}")}
        return Candidate(name, partial(load, name, model, size, **told, **options), deadline)

    wanted = dict.fromkeys(name for one in names for name in candidates(one) if name != "bicubic")
    return [choice(name) for name in wanted]


def guarded(
    names: Sequence[str],
    model: str,
    size: tuple[int, int],
    *,
    depth: int = 2,
    deadline: float = 0.25,
    scale: int | None = None,
    **options: Any,
) -> SlotEngine[Any]:
    """The first of the engines `names` that works, each in a process of its own, with bicubic in its place meanwhile.

    The picture begins at once if the model's name tells its scale; else when the first engine is there. An answer
    later than `deadline` seconds is a fault. `scale` and `options` are those of engines.load(). Raises EngineError for
    a name or a model that cannot be right.
    """
    made: list[FailoverEngine[Any]] = []  # a load may begin before there is one

    def tell(text: str) -> None:
        for one in made:
            one.say(text)

    found = choices(names, model, size, deadline=deadline, tell=tell, depth=depth, scale=scale, **options)
    if not found:
        return bicubic.load(size, scale=scale or catalog.scale_in(model) or catalog.DEFAULT_SCALE, depth=depth)
    told = catalog.scale_in(str(catalog.find(model, scale=scale)))
    standby: FailoverEngine[Any] = FailoverEngine(found, size, scale=told, depth=depth, retry=RETRY)
    made.append(standby)
    standby.farewell = SHORT
    return standby
