"""The process that engines/isolation/engine.py starts, with an engine in it: python -m engines.worker SOCKET MEMORY"""

from __future__ import annotations

import contextlib
import json
import logging
import mmap
import os
import queue
import struct
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Protocol, runtime_checkable

import numpy as np

import engines
from engines.base import Image, Slot, Spec, stages
from engines.errors import EngineError, one_line
from engines.support.child_process import inherited
from engines.support.progress import BuildProgress

WORKER_FRAME_TIMEOUT_S = 1800.0
"""Seconds a frame may take here; who waits for it in the program loses patience long before."""
PROGRESS_PERIOD_S = 0.5
"""Seconds between two words about a load that takes long."""

ANSWER = struct.Struct("<id")
"""The child's answer: a slot number; when it was finished (monotonic). Behind it, for each stage that the slot tells
of, a STAGE; or, with -1 - number, an error's parts as JSON."""
STAGE_TIME = struct.Struct("<24sd")
"""A stage's name in UTF-8, filled up with zeros, and the seconds it took. Three of them cost a frame 1 us to write and
1 us to read; JSON would cost three times that."""


@runtime_checkable
class Placeable(Protocol):
    """A slot that can work in buffers of somebody else's, so that nothing is copied between processes."""

    input: Image

    def place(self, input: Image, output: Image) -> bool:
        """Use these from now on; launch(self.input) copies nothing. A CUDA engine registers them page-locked.

        False if it cannot, and frames have to be copied.
        """


def sizes(spec: Spec) -> tuple[int, int]:
    """Bytes of an input and of an output, up to the next page."""
    page = mmap.PAGESIZE
    one, two = (-(-3 * width * height // page) * page for width, height in (spec.input, spec.output))
    return one, two


def views(memory: mmap.mmap, spec: Spec, depth: int) -> list[tuple[Image, Image]]:
    """The input and output of each slot in the shared memory, uint8 [H, W, 3]."""
    made, at = [], 0
    for _ in range(depth):
        pair = []
        for (width, height), size in zip((spec.input, spec.output), sizes(spec), strict=True):
            image: Image = np.frombuffer(memory, np.uint8, 3 * width * height, at).reshape(height, width, 3)
            pair.append(image)
            at += size
        made.append((pair[0], pair[1]))
    return made


class EngineWorker:
    """Launches what comes and answers what is done, in two threads, as a pipeline would."""

    def __init__(self, link: Connection, slots: Sequence[Slot], shared: Sequence[tuple[Image, Image]]) -> None:
        self._link, self._slots, self._shared = link, slots, shared
        self._placed = [
            isinstance(slot, Placeable) and slot.place(image, output)
            for slot, (image, output) in zip(slots, shared, strict=True)
        ]
        self._flying: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def run(self) -> None:
        """Until the parent closes its end."""
        answering = threading.Thread(target=self._answer, name="answer", daemon=True)
        answering.start()
        with contextlib.suppress(EOFError, OSError):
            while True:
                index = int.from_bytes(self._link.recv_bytes(), "little")
                try:
                    slot = self._slots[index]
                    slot.launch(slot.input if self._placed[index] else self._shared[index][0])
                except EngineError as error:
                    self._fail(index, error)
                else:
                    self._flying.put(index)
        self._flying.put(None)

    def _answer(self) -> None:
        with contextlib.suppress(OSError):
            while (index := self._flying.get()) is not None:
                slot = self._slots[index]
                try:
                    image = slot.wait(WORKER_FRAME_TIMEOUT_S)
                except (EngineError, TimeoutError) as error:
                    self._fail(index, error)
                    continue
                if not self._placed[index]:
                    np.copyto(self._shared[index][1], image)
                told = (STAGE_TIME.pack(name.encode(), seconds) for name, seconds in stages(slot).items())
                self._link.send_bytes(ANSWER.pack(index, slot.finished) + b"".join(told))

    def _fail(self, index: int, error: Exception) -> None:
        if not isinstance(error, EngineError):
            facts = one_line(error) or type(error).__name__
            error = EngineError("The engine failed on a frame", facts, "Try --engine bicubic.")
        self._link.send_bytes(ANSWER.pack(-1 - index, time.monotonic()) + json.dumps(error.parts).encode())


@contextlib.contextmanager
def reporting(link: Connection) -> Iterator[BuildProgress]:
    """A Progress whose words go to the parent for the time of the block."""
    progress, done = BuildProgress(), threading.Event()

    def report() -> None:
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
    """The child's life, until its parent's end: SOCKET and MEMORY are descriptors it has inherited."""
    link, memory = inherited(arguments)
    options = json.loads(link.recv_bytes())
    logging.basicConfig(level=options.pop("level"), format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        with reporting(link) as progress:
            name, model, size = options.pop("name"), options.pop("model"), tuple(options.pop("size"))
            engine = engines.load(name, model, size, **options, progress=progress)
    except EngineError as error:
        link.send_bytes(json.dumps({"error": error.parts}).encode())
        return
    link.send_bytes(json.dumps(asdict(engine.spec)).encode())
    if link.recv_bytes() == b"go":
        shared = views(mmap.mmap(memory, 0), engine.spec, options["depth"])
        EngineWorker(link, engine.slots, shared).run()
    os._exit(0)  # no farewell to a driver that may hang in it; what it holds goes with the process


if __name__ == "__main__":
    main(sys.argv[1:])
