"""What the tests of Triton share: pictures, and what engines make of them, in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np

import engines
from engines.base import Engine, Image, Strength
from engines.request import EngineRequest, TritonOptions
from scripts.serving.server import TritonServer

SIZE = (64, 48)
MODEL = "fast-x2"


def picture(seed: int, size: tuple[int, int] = SIZE) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


def load(
    server: TritonServer | str,
    size: tuple[int, int] = SIZE,
    *,
    model: str = MODEL,
    depth: int = 2,
    scale: int | None = None,
    fallback: tuple[str, ...] = (),
    start: Literal["strict", "standby"] = "strict",
    strength: Strength | None = None,
    **options: Any,
) -> Engine[int]:
    """`options`: those of engines.request.TritonOptions."""
    address = server if isinstance(server, str) else server.address
    request = EngineRequest(f"triton://{address}/{model}", "fast", size, depth=depth, scale=scale, fallback=fallback)
    return engines.load(replace(request, start=start, triton=TritonOptions(**options)), strength=strength)


def through(engine: Engine[int], pictures: list[Image]) -> list[Image]:
    """Each picture's result; the order is checked."""

    def submit() -> None:
        for number, one in enumerate(pictures):
            engine.reserve()
            engine.submit(one, number)

    submitter = threading.Thread(target=submit, daemon=True)
    submitter.start()
    results = []
    for number in range(len(pictures)):
        done = collect(engine)
        assert done[1] == number
        results.append(done[0].copy())
    submitter.join(10)
    return results


def collect(engine: Engine[int]) -> tuple[Image, int]:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            done = engine.collect(0.02)
        except TimeoutError:
            continue
        assert done is not None
        return done[:2]
    raise AssertionError("no picture came")


def local(pictures: list[Image], model: str = MODEL) -> list[Image]:
    size = (pictures[0].shape[1], pictures[0].shape[0])
    with engines.load(EngineRequest("openvino", f"{model}-fp32", size)) as engine:
        return through(engine, pictures)


def cameras_at_once(
    server: TritonServer, count: int, results: Callable[[list[Image]], list[Image]], **more: Any
) -> None:
    """So many cameras of one flat grey each: nobody gets another one's result. `results`: what is right of pictures."""
    flats = [np.full((SIZE[1], SIZE[0], 3), 20 + 60 * number, np.uint8) for number in range(count)]
    wanted = results(flats)
    failures: list[object] = []

    def camera(number: int) -> None:
        try:
            with load(server, **more) as engine:
                for made in through(engine, [flats[number]] * 20):
                    assert (made == wanted[number]).all()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=camera, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
