"""Run a simulated camera in its own process: the app's pipeline with frames made beforehand.

fleet.py starts many of them. With --check every picture is compared with what it must be, bit by bit.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import select
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import numpy as np

import engines
from app.pipeline.frame import Frame, OutputFrame
from app.pipeline.pipeline import Pipeline
from app.pipeline.protocols import Tag
from app.pipeline.stats import Stats
from engines import bicubic
from engines.base import Engine, Image, Spec
from engines.catalog import shipped as catalog
from engines.errors import EngineError, UserError
from engines.request import EngineRequest, OpenVinoOptions, Transport
from engines.slot_engine import SlotEngine
from scripts.serving import client_options

DISTINCT_FRAMES = 3
"""Different frames of a camera; each can be told from the others, and from all frames of other cameras."""
COMPARE_STRIDE = 7
"""Every so many rows and columns of a picture are compared."""


class FleetSource:
    """A live source of DISTINCT_FRAMES frames in turn, at a rate.

    After the first frame it waits for a line on standard input.
    """

    name, live, paced, camera = "simulated camera", True, True, True

    def __init__(self, images: list[Image], fps: float, seconds: float, phase: float) -> None:
        """`phase` is how much of a frame's time this camera is later: real cameras do not click together."""
        self.fps, self._images, self._seconds, self._phase = fps, images, seconds, phase / fps
        self._closed = threading.Event()
        self.begun = 0.0

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(self._images[0], 0, time.monotonic(), 0.0)  # so that the engine is loaded before it counts
        while not select.select([sys.stdin], [], [], 0.2)[0]:
            if self._closed.is_set():
                return
        self.begun = time.monotonic() + self._phase
        for index in range(1, int(self._seconds * self.fps) + 1):
            due = self.begun + index / self.fps
            if self._closed.wait(max(0.0, due - time.monotonic())):
                return
            yield Frame(self._images[index % DISTINCT_FRAMES], index, time.monotonic(), index / self.fps)

    def close(self) -> None:
        """End the iteration; any thread may call this."""
        self._closed.set()


class FleetSink:
    """A sink that notes how old each picture is, which engine made it, and what is wrong with it."""

    def __init__(self, stats: Stats, wanted: list[Image] | None, images: list[Image]) -> None:
        self._stats, self._wanted, self._images = stats, wanted, images
        self.ages: list[float] = []
        self.gaps: list[tuple[float, float]] = []
        self.makers: list[tuple[float, str]] = []
        """Moments of time.monotonic() at which another engine began to make the pictures."""
        self.wrong = self.unordered = 0
        self._last = (-1, 0.0)

    def write(self, frame: OutputFrame) -> None:
        """Note the picture."""
        captured, now = frame.input, time.monotonic()
        name = self._stats.spec.name if self._stats.spec else ""
        if not self.makers or self.makers[-1][1] != name:
            self.makers.append((now, name))
        self.unordered += captured.index <= self._last[0]
        if self._wanted is not None:
            self.wrong += not self._right(frame, name)
        if captured.index == 0:
            print("ready", flush=True)
        else:
            self.ages.append(now - captured.captured)
            if self._last[0] > 0:
                self.gaps.append((now, now - self._last[1]))
        self._last = captured.index, now

    def _right(self, frame: OutputFrame, name: str) -> bool:
        index = frame.input.index % DISTINCT_FRAMES
        if name == "bicubic":
            wanted = bicubic.enlarge(self._images[index], np.empty_like(frame.image))[
                ::COMPARE_STRIDE, ::COMPARE_STRIDE
            ]
        else:
            assert self._wanted is not None
            wanted = self._wanted[index]
        return bool((frame.image[::COMPARE_STRIDE, ::COMPARE_STRIDE] == wanted).all())


class HttpSlot:
    """A slot whose frame is posted to the naive server, which Triton is compared with."""

    def __init__(self, server: str, spec: Spec, pool: ThreadPoolExecutor) -> None:
        self._server, self._shape, self._pool = server, (spec.output[1], spec.output[0], 3), pool
        self.input: Image = np.empty((spec.input[1], spec.input[0], 3), np.uint8)
        self._job: Future[Image] | None = None
        self.finished = 0.0

    def launch(self, image: Image) -> None:
        """Copy `image` and post it; wait() has the answer."""
        np.copyto(self.input, image)
        self._job = self._pool.submit(self._post)

    def _post(self) -> Image:
        connection = http.client.HTTPConnection(self._server, timeout=60)
        try:
            connection.request("POST", f"/{self.input.shape[1]}x{self.input.shape[0]}", self.input.tobytes())
            body = bytearray(connection.getresponse().read())
        except (OSError, http.client.HTTPException) as error:
            raise EngineError(f"{self._server} has failed", str(error)) from None
        finally:
            connection.close()
        self.finished = time.monotonic()
        return np.frombuffer(body, np.uint8).reshape(self._shape)

    def wait(self, timeout: float) -> Image:
        """Return the picture of the last launch(). Raises TimeoutError after `timeout` seconds, EngineError."""
        assert self._job is not None
        done = threading.Event()
        self._job.add_done_callback(lambda _: done.set())
        if not done.wait(timeout):
            raise TimeoutError
        return self._job.result()

    def close(self) -> None:
        """Do nothing: the connection of each frame has been closed."""
        pass


def load(
    engine: str, size: tuple[int, int], depth: int, transport: Transport, fallback: str, config: Path | None = None
) -> Engine[Tag]:
    """Return any engine of the program, or one for http://HOST:PORT/MODEL.

    `transport`, unless it is auto, overrides that of `config`.
    """
    if engine.startswith("http://"):
        server, _, model = engine.removeprefix("http://").partition("/")
        scale = catalog.scale_in(model) or catalog.DEFAULT_SCALE
        spec = Spec("http", engine, model, "fp32", scale, size, (scale * size[0], scale * size[1]))
        pool = ThreadPoolExecutor(depth)
        return SlotEngine(spec, [HttpSlot(server, spec, pool) for _ in range(depth)], close=pool.shutdown)
    names = [] if fallback == "none" else fallback.split(",")
    options = client_options.read(config)
    if transport != "auto":
        options = replace(options, transport=transport)
    return engines.load(EngineRequest(engine, "fast", size, depth=depth, triton=options, fallback=tuple(names)))


def pictures(number: int, size: tuple[int, int]) -> list[Image]:
    """Return the frames of camera `number`: noise, with a seed of its own for each."""
    width, height = size
    return [
        np.random.default_rng([number, each]).integers(0, 256, (height, width, 3), np.uint8)
        for each in range(DISTINCT_FRAMES)
    ]


def expected(images: list[Image], engine: str) -> list[Image]:
    """Return what the model that `engine` names makes of `images` on this machine's own engine.

    Of each picture, that is every COMPARE_STRIDE-th row and column.
    """
    size = (images[0].shape[1], images[0].shape[0])
    results = []
    file = catalog.MODELS_FOLDER / f"{engine.rpartition('/')[2]}.onnx"
    with engines.load(EngineRequest("openvino", str(file), size, openvino=OpenVinoOptions(threads=1))) as local:
        for image in images:
            local.reserve()
            local.submit(image, None)
            done = local.collect(60)
            assert done is not None
            results.append(done[0][::COMPARE_STRIDE, ::COMPARE_STRIDE].copy())
    return results


def camera(options: argparse.Namespace) -> dict[str, Any]:
    """Run one camera to its end, and return its figures."""
    from scripts.common.arguments import size

    frame = size(options.size)
    images = pictures(options.number, frame)
    stats = Stats()
    watch = FleetSink(stats, expected(images, options.engine) if options.check else None, images)
    source = FleetSource(images, options.fps, options.seconds, random.Random(options.number).random())
    Pipeline(
        source,
        lambda size: load(options.engine, size, options.depth, options.transport, options.fallback, options.config),
        stats,
        after=[watch],
        lossless=False,
    ).run()
    p50, p99 = np.percentile(watch.ages, [50, 99]) * 1000 if watch.ages else (0.0, 0.0)
    return {
        "shown": len(watch.ages),
        "dropped": stats.dropped,
        "fallback": stats.fallback,
        "fps": len(watch.ages) / options.seconds,
        "p50": float(p50),
        "p99": float(p99),
        "wrong": watch.wrong,
        "unordered": watch.unordered,
        "makers": watch.makers,
        "gaps": sorted(watch.gaps, key=lambda gap: -gap[1])[:20],
        "begun": source.begun,
    }


def main() -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description="One simulated camera.")
    parser.add_argument("--engine", required=True)
    parser.add_argument("--size", default="640x360")
    for name, kind in {"fps": float, "seconds": float, "depth": int, "number": int}.items():
        parser.add_argument(f"--{name}", type=kind, required=True)
    parser.add_argument("--transport", default="auto")
    parser.add_argument("--fallback", default="none")
    parser.add_argument("--check", action="store_true")
    client_options.add_option(parser)
    try:
        print(json.dumps(camera(parser.parse_args())), flush=True)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
