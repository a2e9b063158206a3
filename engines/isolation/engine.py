"""Runs any engine in a process of its own, so that a driver that crashes or hangs takes no picture with it.

Frames lie in shared memory that the child's engine works in directly: launch() copies a frame in, as it would into an
engine of this process, and wait() returns the view that the child wrote. What goes through the socket are slot numbers;
the child's own side is engines/worker.py.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from engines.base import Image, Strength
from engines.catalog import shipped as catalog
from engines.errors import EngineError
from engines.isolation.protocol import ANSWER, LAUNCH_MESSAGE, STAGE_TIME, frame_bytes, frame_views, spec_from_json
from engines.request import EngineRequest
from engines.slot_engine import SlotEngine
from engines.support import event_log
from engines.support.child_process import ChildProcess

LOAD_TIMEOUT_S = 1800.0
"""How long the child may take to load: an engine that has to be built takes minutes on a small board."""
SILENCE_TIMEOUT_S = 120.0
"""How long the child may say nothing while it loads: it reports a build twice a second, and a driver may hang."""


class EngineProcess:
    """The child process, and what is shared with it."""

    def __init__(
        self,
        request: EngineRequest,
        report: Callable[[str], None] | None = None,
        *,
        load_timeout: float = LOAD_TIMEOUT_S,
        silence_timeout: float = SILENCE_TIMEOUT_S,
    ) -> None:
        """Start it and wait until its engine is loaded; see load(). Raises EngineError."""
        self._load_timeout, self._silence_timeout = load_timeout, silence_timeout
        self._process = ChildProcess("engines.worker")
        self._reading, self._sending = threading.Lock(), threading.Lock()
        self._answers: dict[int, bytes] = {}  # guarded by _reading
        try:
            self.send(json.dumps({"log": event_log.settings(), "request": request.as_dict()}).encode())
            answer = self._loaded(report)
            if "error" in answer:
                raise EngineError(*answer["error"])
            self.spec = spec_from_json(answer)
            memory = self._process.mapped(request.depth * sum(frame_bytes(self.spec)))
            self.views = frame_views(memory, self.spec, request.depth)
            """Input and output of each slot, uint8 [H, W, 3]."""
            self.send(b"go")
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, message: bytes) -> None:
        """Send a message. Raises EngineError if the child is gone."""
        try:
            with self._sending:
                self._process.link.send_bytes(message)
        except OSError:
            raise self._gone() from None

    def receive(self, timeout: float) -> bytes:
        """Return the next message. Raises TimeoutError, EngineError."""
        try:
            if not self._process.link.poll(timeout):
                raise TimeoutError
            return self._process.link.recv_bytes()
        except (EOFError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise self._gone() from None

    def answer(self, index: int, timeout: float) -> tuple[float, Mapping[str, float]]:
        """Return when slot `index` was finished, and the seconds of its stages (engines.base.stages).

        Raises TimeoutError; EngineError, the engine's own or that the child is gone.
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
        rest = message[ANSWER.size :]
        if number < 0:
            raise EngineError(*json.loads(rest))
        return finished, {name.rstrip(b"\0").decode(): seconds for name, seconds in STAGE_TIME.iter_unpack(rest)}

    def close(self) -> None:
        """End the process, whatever it is doing, and let go of the memory. Idempotent."""
        self._process.close()
        # The map goes with the last view of it: somebody may still be looking at a picture.

    def _loaded(self, report: Callable[[str], None] | None) -> dict[str, Any]:
        """What the child says once its engine is loaded, or has failed to."""
        until = time.monotonic() + self._load_timeout
        while True:
            left = max(0.0, until - time.monotonic())
            try:
                message: dict[str, Any] = json.loads(self.receive(min(left, self._silence_timeout)))
            except TimeoutError:
                silent = left > self._silence_timeout
                how = (
                    f"said nothing for {self._silence_timeout:.0f} s"
                    if silent
                    else f"been loading it for {self._load_timeout:.0f} s"
                )
                facts = f"its process has {how}"
                raise EngineError("The engine does not load", facts, "Try --engine bicubic.") from None
            if "progress" not in message:
                return message
            if report is not None:
                report(message["progress"])

    def _gone(self) -> EngineError:
        return EngineError(
            "The engine's process is gone", self._process.end(), "Its own messages, if any, are in the log."
        )


class IsolatedSlot:
    """One slot of the child's engine, and its place in the shared memory."""

    def __init__(self, child: EngineProcess, index: int, strength: Strength) -> None:
        self._child, self._index, self._strength = child, index, strength
        self.input, self._output = child.views[index]
        self.finished = 0.0
        self.stages: Mapping[str, float] = {}

    def launch(self, image: Image) -> None:
        """Copy `image`, uint8 [H, W, 3], and let the child start. Raises EngineError if the child is gone."""
        np.copyto(self.input, image)
        self._child.send(LAUNCH_MESSAGE.pack(self._index, self._strength.value))

    def wait(self, timeout: float) -> Image:
        """Return the child's result, in the shared memory. Raises TimeoutError, EngineError."""
        self.finished, self.stages = self._child.answer(self._index, timeout)
        return self._output

    def close(self) -> None:
        """Do nothing: the memory is the child's."""


class IsolatedEngine(SlotEngine[Any]):
    """Slots whose work is done by a child process."""

    def __init__(self, child: EngineProcess, depth: int, strength: Strength) -> None:
        self.child = child
        slots = [IsolatedSlot(child, index, strength) for index in range(depth)]
        super().__init__(child.spec, slots, close=child.close)

    def __enter__(self) -> IsolatedEngine:
        return self


def load(
    request: EngineRequest,
    *,
    report: Callable[[str], None] | None = None,
    strength: Strength | None = None,
    load_timeout: float = LOAD_TIMEOUT_S,
    silence_timeout: float = SILENCE_TIMEOUT_S,
) -> IsolatedEngine:
    """Return what engines.load() makes of `request`, in a process of its own.

    Args:
        request: For one engine of this machine, without fallbacks and models to switch between.
        report: Receives, in this thread, the progress of a load that takes long.
        strength: Sent along with each frame.
        load_timeout: Seconds that the child may take to load.
        silence_timeout: Seconds that it may say nothing while it loads.

    Raises:
        EngineError: The child's own, or that it is gone or does not come to an end.
    """
    if catalog.is_path(request.model):
        request = replace(request, model=str(Path(request.model).absolute()))  # the child runs in another folder
    child = EngineProcess(request, report, load_timeout=load_timeout, silence_timeout=silence_timeout)
    return IsolatedEngine(child, request.depth, strength or Strength())
