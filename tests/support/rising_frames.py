"""Frames of rising grey levels through an engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from engines.base import Engine

SIZE = (16, 16)


def run_frames(engine: Engine[int], count: int, *, first: int = 0, checked: bool = True) -> None:
    """`count` frames of rising grey levels, each of which has to come out as itself."""

    def submit() -> None:
        for number in range(first, first + count):
            engine.reserve()
            engine.submit(np.full((*SIZE, 3), number % 250, np.uint8), number)

    submitter = threading.Thread(target=submit, daemon=True)
    submitter.start()
    for number in range(first, first + count):
        done = engine.collect(10)
        assert done is not None and done[1] == number
        assert not checked or (done[0] == number % 250).all()
    submitter.join(10)


def frames_until(engine: Engine[int], true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until, engine.spec
        run_frames(engine, 1, first=1, checked=False)
        time.sleep(0.002)
