"""Engines that fail as a test wants, and frames that show who made them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from engines import bicubic
from engines.base import Engine, Image, Spec
from engines.errors import EngineError
from engines.failover.candidates import Retry
from engines.slot_engine import SlotEngine

SIZE = (16, 16)
QUICK = Retry(first=0.001, longest=0.01, failures=3, within=0.5)
GONE = EngineError("The server is away", "connection refused")

Act = Callable[[int], object]
"""What a device does on its n-th frame: takes its time, or raises."""


class Inverted(bicubic.BicubicSlot):
    """A bicubic slot whose pictures are told from the fallback's: they are negatives. Its device is a thread."""

    def __init__(self, owner: Device) -> None:
        super().__init__(SIZE, 2)
        self._owner = owner
        self._done = threading.Event()
        self._error: EngineError | None = None
        self.closed = False

    def launch(self, image: Image) -> None:
        super().launch(image)
        number = self._owner.next()
        self._owner.on_launch(number)
        self._done.clear()
        self._error = None
        self._thread = threading.Thread(target=self._work, args=(number,), daemon=True)
        self._thread.start()

    def _work(self, number: int) -> None:
        try:
            self._owner.on_frame(number)
            np.subtract(255, bicubic.enlarge(self.input, self._output), out=self._output)
        except EngineError as error:
            self._error = error
        self.finished = time.monotonic()
        self._done.set()

    def wait(self, timeout: float) -> Image:
        assert not self.closed, "used after it was freed"
        if not self._done.wait(timeout):
            raise TimeoutError
        if self._error:
            raise self._error
        return self._output

    def close(self) -> None:
        assert not self.closed
        self.closed = True
        self.input.fill(77)  # whoever still reads it shows it
        self._output.fill(77)


def fine(_number: int) -> None:
    pass


class Device:
    """What can be connected to again and again, and counts the frames over all connections."""

    def __init__(self, on_frame: Act = fine, on_launch: Act = fine, on_load: Act = fine, name: str = "remote") -> None:
        self.on_frame, self.on_launch, self.on_load, self.name = on_frame, on_launch, on_load, name
        self.frames = self.loads = 0
        self.slots: list[Inverted] = []

    def next(self) -> int:
        self.frames += 1
        return self.frames - 1

    def load(self) -> Engine[object]:
        self.loads += 1
        self.on_load(self.loads - 1)
        slots = [Inverted(self) for _ in range(3)]
        self.slots += slots
        return SlotEngine(Spec(self.name, "threads", "none", "u8", 2, SIZE, (32, 32)), slots)


def grey(level: int) -> Image:
    return np.full((SIZE[1], SIZE[0], 3), level, np.uint8)


def raising(error: EngineError, *numbers: int) -> Act:
    def act(number: int) -> None:
        if not numbers or number in numbers:
            raise error

    return act


class Run:
    """Frames of rising grey levels through an engine; who made each, and how long it took."""

    def __init__(self, engine: Engine[int]) -> None:
        self._engine = engine
        self.made: list[str] = []
        self.states: list[str] = []
        self.ages: list[float] = []
        self._launched: dict[int, float] = {}

    def frames(self, count: int, period: float = 0.0) -> None:
        begun, engine = len(self.made), self._engine

        def submit() -> None:
            image = grey(0)
            for level in range(begun, begun + count):
                engine.reserve()
                image.fill(level % 100)
                self._launched[level] = time.monotonic()
                engine.submit(image, level)
                image.fill(255)
                time.sleep(period)

        submitter = threading.Thread(target=submit, daemon=True)
        submitter.start()
        for level in range(begun, begun + count):
            image, tag = self._next()
            self.ages.append(time.monotonic() - self._launched[level])
            assert tag == level
            assert image.min() == image.max()
            shown = int(image[0, 0, 0])
            local = engine.spec.name == "bicubic"
            assert shown == (level % 100 if local else 255 - level % 100), "another frame's picture"
            self.made.append(engine.spec.name)
            self.states.append(engine.spec.state.reason)
        submitter.join(10)

    def _next(self) -> tuple[Image, int]:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                done = self._engine.collect(0.005)
            except TimeoutError:
                continue
            assert done is not None
            return done[:2]
        raise AssertionError("no picture came")

    def until(self, name: str) -> None:
        """Frames until `name` makes them."""
        until = time.monotonic() + 60
        while not self.made or self.made[-1] != name:
            assert time.monotonic() < until, f"{name} never made a picture"
            self.frames(1, period=0.002)
