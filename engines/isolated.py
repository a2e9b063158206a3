"""Isolated: any engine in a process of its own, so that a driver that crashes or hangs takes no picture with it.

Frames lie in shared memory that the child's engine works in directly: launch() copies a frame in, as it would into an
engine of this process, and wait() lends the view that the child wrote. What goes through the socket are slot numbers.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import mmap
import os
import queue
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from engines import bicubic, candidates, catalog
from engines import load as engines_load
from engines.base import EngineError, Image, Slot, Spec
from engines.progress import Progress
from engines.slots import Slots
from engines.standby import Choice, Retry, Standby

log = logging.getLogger(__name__)

BUILD = 1800.0
"""Seconds the child may take to load: an engine that has to be built takes minutes on a small board."""
FAREWELL = 1.0
"""Seconds the child is given to end by itself."""
ALIVE = 0.5
"""Seconds between the child's looks at whether its parent is still there."""
TELL = 0.5
"""Seconds between two words of the child about a load that takes long."""

PR_SET_PDEATHSIG = 1

DONE = struct.Struct("<id")
"""The child's answer: a slot number, or -1 - number with a message behind it; when it was finished (monotonic)."""


@runtime_checkable
class Placeable(Protocol):
    """A slot that can work in buffers of somebody else's, so that nothing is copied between processes."""

    input: Image

    def place(self, input: Image, output: Image) -> None:
        """Use these from now on; launch(self.input) copies nothing. A CUDA engine registers them page-locked."""


class Child:
    """The process, and what is shared with it."""

    def __init__(self, options: dict[str, Any], tell: Callable[[str], None]) -> None:
        """Starts it and waits until its engine is loaded, which `tell` is told of if it takes long.

        Raises EngineError: the child's own, or that it is gone or does not come to an end.
        """
        ours, theirs = socket.socketpair()
        self._memory = _anonymous()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "engines.isolated", str(theirs.fileno()), str(self._memory)],
            pass_fds=[theirs.fileno(), self._memory],
            stdin=subprocess.DEVNULL,
            cwd=Path(__file__).resolve().parent.parent,
            start_new_session=True,  # Ctrl-C is for the program, which ends this process itself
        )
        theirs.close()
        self._link = Connection(ours.detach())
        self._reading, self._sending = threading.Lock(), threading.Lock()
        self._answers: dict[int, tuple[float, str]] = {}
        self._map: mmap.mmap | None = None
        try:
            self.send(json.dumps(options | {"level": log.getEffectiveLevel()}).encode())
            told = self._loaded(tell)
            if "problem" in told:
                raise EngineError(told["problem"], told["facts"], told["fix"])
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
                self._link.send_bytes(message)
        except OSError:
            raise self._gone() from None

    def receive(self, timeout: float) -> bytes:
        """The next message. Raises TimeoutError, EngineError."""
        try:
            if not self._link.poll(timeout):
                raise TimeoutError
            return self._link.recv_bytes()
        except (EOFError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise self._gone() from None

    def answer(self, index: int, timeout: float) -> float:
        """When slot `index` was finished. Raises TimeoutError; EngineError of the child's engine, or as it is gone."""
        until = time.monotonic() + timeout
        # Whoever waits reads the answers of others along with its own.
        if not self._reading.acquire(timeout=max(0.0, timeout)):
            raise TimeoutError
        try:
            while index not in self._answers:
                message = self.receive(max(0.0, until - time.monotonic()))
                number, finished = DONE.unpack_from(message)
                told = message[DONE.size :].decode()
                self._answers[number if number >= 0 else -1 - number] = (finished, told)
            finished, told = self._answers.pop(index)
        finally:
            self._reading.release()
        if told:
            raise EngineError("The engine failed on a frame", told, "Try --engine bicubic.")
        return finished

    def close(self) -> None:
        """End the process, whatever it is doing, and let go of the memory. Idempotent."""
        with contextlib.suppress(OSError):
            self._link.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(FAREWELL)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1
        # The map goes with the last view of it: somebody may still be looking at a picture.

    def _loaded(self, tell: Callable[[str], None]) -> dict[str, Any]:
        """What the child says once its engine is loaded, or has failed to."""
        until = time.monotonic() + BUILD
        while True:
            try:
                told: dict[str, Any] = json.loads(self.receive(max(0.0, until - time.monotonic())))
            except TimeoutError:
                facts = f"its process has been loading it for {BUILD:.0f} s"
                raise EngineError("The engine does not load", facts, "Try --engine bicubic.") from None
            if "progress" not in told:
                return told
            tell(told["progress"])

    def _share(self, depth: int) -> list[tuple[Image, Image]]:
        size = depth * sum(_sizes(self.spec))
        os.ftruncate(self._memory, size)
        self._map = mmap.mmap(self._memory, size)
        return views(self._map, self.spec, depth)

    def _gone(self) -> EngineError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.05)
        status = self._process.poll()
        how = "it does not answer" if status is None else f"it ended with status {status}"
        if status is not None and status < 0:
            with contextlib.suppress(ValueError):
                how = f"it was ended by {signal.Signals(-status).name}"
        return EngineError("The engine's process is gone", how, "Its own words, if any, are in the log.")


class IsolatedSlot:
    """One slot of the child's engine, and its place in the shared memory."""

    def __init__(self, child: Child, index: int) -> None:
        self._child, self._index = child, index
        self.input, self._output = child.views[index]
        self.finished = 0.0

    def launch(self, image: Image) -> None:
        np.copyto(self.input, image)
        self._child.send(self._index.to_bytes(2, "little"))

    def wait(self, timeout: float) -> Image:
        self.finished = self._child.answer(self._index, timeout)
        return self._output

    def close(self) -> None:
        pass  # the memory is the child's


class Isolated(Slots[Any]):
    """Slots whose work is done by a Child."""

    def __init__(self, child: Child, depth: int) -> None:
        self.child = child
        super().__init__(child.spec, [IsolatedSlot(child, index) for index in range(depth)], close=child.close)

    def __enter__(self) -> Isolated:
        return self


def load(
    name: str,
    model: str,
    size: tuple[int, int],
    *,
    depth: int = 2,
    tell: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> Isolated:
    """What engines.load() gives, in a process of its own; `options` are that function's. Raises EngineError.

    `tell` is told, in this thread, how far a load that takes long has come.
    """
    if model.endswith(".onnx") or "/" in model:
        model = str(Path(model).absolute())  # the child runs in another folder
    return Isolated(Child(options | {"name": name, "model": model, "size": size, "depth": depth}, tell), depth)


def guarded(
    names: Sequence[str],
    model: str,
    size: tuple[int, int],
    *,
    depth: int = 2,
    deadline: float = 0.25,
    **options: Any,
) -> Slots[Any]:
    """The first of the engines `names` that works, each in a process of its own, with bicubic in its place meanwhile.

    The picture begins at once if the model's name tells its scale; else when the first engine is there. An answer
    later than `deadline` seconds is a fault. `options` are those of engines.load(). Raises EngineError for a name or
    a model that cannot be right.
    """
    path = catalog.find(model)
    wanted = [name for one in names for name in candidates(one) if name != "bicubic"]
    told = re.search(r"-x(\d+)(-|$)", path.stem)
    scale = int(told[1]) if told else None
    if not wanted:
        return bicubic.load(size, scale=scale or 2, depth=depth)

    def choice(name: str) -> Choice:
        def tell(text: str) -> None:
            for one in made:
                one.say(f"{name}: {text}")

        return Choice(name, lambda: load(name, model, size, depth=depth, tell=tell, **options), deadline)

    made: list[Standby[Any]] = []  # a load may begin before there is one

    standby: Standby[Any] = Standby(
        [choice(name) for name in dict.fromkeys(wanted)], size, scale=scale, depth=depth, retry=Retry(longest=5.0)
    )
    made.append(standby)
    standby.farewell = FAREWELL / 10  # a child that is still loading, or hangs, is ended by its thread or by our end
    return standby


def _anonymous() -> int:
    """A file descriptor of memory without a name: nothing is left behind, however the processes end."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("livesr")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _sizes(spec: Spec) -> tuple[int, int]:
    """Bytes of an input and of an output, up to the next page."""
    page = mmap.PAGESIZE
    one, two = (-(-3 * width * height // page) * page for width, height in (spec.input, spec.output))
    return one, two


def views(memory: mmap.mmap, spec: Spec, depth: int) -> list[tuple[Image, Image]]:
    """The input and output of each slot in the shared memory, uint8 [H, W, 3]."""
    made, at = [], 0
    for _ in range(depth):
        pair = []
        for (width, height), size in zip((spec.input, spec.output), _sizes(spec), strict=True):
            image: Image = np.frombuffer(memory, np.uint8, 3 * width * height, at).reshape(height, width, 3)
            pair.append(image)
            at += size
        made.append((pair[0], pair[1]))
    return made


# The child.


class Worker:
    """Launches what comes and answers what is done, in two threads, as a pipeline would."""

    def __init__(self, link: Connection, slots: Sequence[Slot], shared: Sequence[tuple[Image, Image]]) -> None:
        self._link, self._slots, self._shared = link, slots, shared
        self._placed = [isinstance(slot, Placeable) for slot in slots]
        self._flying: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        for slot, (image, output) in zip(slots, shared, strict=True):
            if isinstance(slot, Placeable):
                slot.place(image, output)

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
                    image = slot.wait(BUILD)
                except (EngineError, TimeoutError) as error:
                    self._fail(index, error)
                    continue
                if not self._placed[index]:
                    np.copyto(self._shared[index][1], image)
                self._link.send_bytes(DONE.pack(index, slot.finished))

    def _fail(self, index: int, error: Exception) -> None:
        told = " ".join(str(error).split()) or type(error).__name__
        self._link.send_bytes(DONE.pack(-1 - index, time.monotonic()) + told.encode())


def die_with_parent() -> None:
    """Ask Linux to kill this process when the thread that started it ends: even one that is stopped (prctl(2))."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def watch(parent: int) -> None:
    """The same for other systems: end with the parent, even in the middle of loading an engine."""
    while os.getppid() == parent:
        time.sleep(ALIVE)
    os._exit(0)


@contextlib.contextmanager
def reporting(link: Connection) -> Iterator[Progress]:
    """A Progress whose words go to the parent for the time of the block."""
    progress, done = Progress(), threading.Event()

    def report() -> None:
        while not done.wait(TELL):
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
    """The child's life: python -m engines.isolated SOCKET MEMORY."""
    die_with_parent()
    threading.Thread(target=watch, args=(os.getppid(),), daemon=True).start()
    link, memory = Connection(int(arguments[0])), int(arguments[1])
    options = json.loads(link.recv_bytes())
    logging.basicConfig(level=options.pop("level"), format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        with reporting(link) as progress:
            name, model, size = options.pop("name"), options.pop("model"), tuple(options.pop("size"))
            engine = engines_load(name, model, size, **options, progress=progress)
    except EngineError as error:
        link.send_bytes(json.dumps({"problem": error.problem, "facts": error.facts, "fix": error.fix}).encode())
        return
    link.send_bytes(json.dumps(asdict(engine.spec)).encode())
    if link.recv_bytes() == b"go":
        shared = views(mmap.mmap(memory, 0), engine.spec, options["depth"])
        Worker(link, engine.slots, shared).run()
    os._exit(0)  # no farewell to a driver that may hang in it; what it holds goes with the process


if __name__ == "__main__":
    main(sys.argv[1:])
