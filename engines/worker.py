"""The process that engines.isolation.engine starts, with an engine in it: python -m engines.worker SOCKET MEMORY."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Protocol, runtime_checkable

import numpy as np

import engines
from engines.base import Image, Slot, Strength, stages
from engines.errors import EngineError, one_line
from engines.isolation.protocol import ANSWER, LAUNCH_MESSAGE, STAGE_TIME, frame_views, spec_to_json
from engines.request import EngineRequest
from engines.support import event_log
from engines.support.child_process import inherited
from engines.support.progress import BuildProgress

WORKER_FRAME_TIMEOUT_S = 1800.0
"""How long a frame may take here; whoever waits for it in the program gives up long before."""
PROGRESS_PERIOD_S = 0.5
"""Between two reports of a load that takes long."""


@runtime_checkable
class Placeable(Protocol):
    """A slot that can work in somebody else's buffers, so that nothing is copied between processes."""

    input: Image

    def place(self, input: Image, output: Image) -> bool:
        """Use these from now on; launch(self.input) copies nothing. A CUDA engine registers them page-locked.

        False if it cannot, and frames have to be copied.
        """


class EngineWorker:
    """Launches the slots that the parent names and answers when they are done, in two threads."""

    def __init__(
        self,
        link: Connection,
        slots: Sequence[Slot],
        shared: Sequence[tuple[Image, Image]],
        strength: Strength | None = None,
    ) -> None:
        """Let the slots work in `shared`, the input and output of each, where they can.

        `strength` is what they read when they are launched; it is set to what the parent sends with each frame.
        """
        self._link, self._slots, self._shared, self._strength = link, slots, shared, strength or Strength()
        self._placed = [
            isinstance(slot, Placeable) and slot.place(image, output)
            for slot, (image, output) in zip(slots, shared, strict=True)
        ]
        self._in_flight: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def run(self) -> None:
        """Work until the parent closes its end."""
        answering = threading.Thread(target=self._answer, name="answer", daemon=True)
        answering.start()
        with contextlib.suppress(EOFError, OSError):
            while True:
                index, self._strength.value = LAUNCH_MESSAGE.unpack(self._link.recv_bytes())
                try:
                    slot = self._slots[index]
                    slot.launch(slot.input if self._placed[index] else self._shared[index][0])
                except EngineError as error:
                    self._fail(index, error)
                else:
                    self._in_flight.put(index)
        self._in_flight.put(None)

    def _answer(self) -> None:
        with contextlib.suppress(OSError):
            while (index := self._in_flight.get()) is not None:
                slot = self._slots[index]
                try:
                    image = slot.wait(WORKER_FRAME_TIMEOUT_S)
                except (EngineError, TimeoutError) as error:
                    self._fail(index, error)
                    continue
                if not self._placed[index]:
                    np.copyto(self._shared[index][1], image)
                times = (STAGE_TIME.pack(name.encode(), seconds) for name, seconds in stages(slot).items())
                self._link.send_bytes(ANSWER.pack(index, slot.finished) + b"".join(times))

    def _fail(self, index: int, error: Exception) -> None:
        if not isinstance(error, EngineError):
            facts = one_line(error) or type(error).__name__
            error = EngineError("The engine failed on a frame", facts, "Try --engine bicubic.")
        self._link.send_bytes(ANSWER.pack(-1 - index, time.monotonic()) + json.dumps(error.parts).encode())


@contextlib.contextmanager
def reporting(link: Connection) -> Iterator[BuildProgress]:
    """Give a BuildProgress whose words go to the parent while the block runs."""
    progress, done = BuildProgress(), threading.Event()

    def report() -> None:
        with contextlib.suppress(OSError):  # the parent has ended
            while not done.wait(PROGRESS_PERIOD_S):
                if text := str(progress):
                    link.send_bytes(json.dumps({"progress": text}).encode())

    reporter = threading.Thread(target=report, name="report", daemon=True)
    reporter.start()
    try:
        yield progress
    finally:
        done.set()
        reporter.join()  # nobody else writes meanwhile


def main(arguments: list[str]) -> None:
    """Live until the parent's end, which may come before the engine is loaded.

    `arguments`: SOCKET and MEMORY, descriptors that are inherited.
    """
    link, memory = inherited(arguments)
    message = json.loads(link.recv_bytes())
    event_log.configure(**message["log"])
    request, strength = EngineRequest.from_dict(message["request"]), Strength()
    try:
        with reporting(link) as progress:
            engine = engines.load(request, progress=progress, strength=strength)
    except EngineError as error:
        with contextlib.suppress(OSError):
            link.send_bytes(json.dumps({"error": error.parts}).encode())
        return
    wanted = False
    with contextlib.suppress(EOFError, OSError):
        link.send_bytes(json.dumps(spec_to_json(engine.spec)).encode())
        wanted = link.recv_bytes() == b"go"
    if wanted:
        shared = frame_views(mmap.mmap(memory, 0), engine.spec, request.depth)
        EngineWorker(link, [engine.slot(index) for index in range(request.depth)], shared, strength).run()
    os._exit(0)  # without waiting for a driver that may hang at the end; what it holds goes with the process


if __name__ == "__main__":
    main(sys.argv[1:])
