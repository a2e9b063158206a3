#!/usr/bin/env python3
"""Estimate how many cameras one server holds, and how many servers many cameras need.

  python scripts/scale.py

This is a queueing simulation of one server: live cameras of the app (only the newest frame waits, two are in flight),
Triton's dynamic batcher, and a device that takes a + b * n milliseconds for a batch of n. The source of a and b:

  --measure triton://HOST:8001/MODEL    measured on that server, with bursts of frames
  --service A,B                         as given
  neither                               measured on this machine's own engine

--every prints a row for every shipped model and the usual sizes instead, timed on this machine's own engine.
--check N,N,... drives that many simulated cameras against a real server (scripts/benchmarks/fleet/) and prints both.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import cv2
import numpy as np

import engines
from app.sources import open_source
from engines import bicubic
from engines.base import Image
from engines.catalog import shipped as catalog
from engines.errors import UserError
from engines.request import EngineRequest
from scripts.benchmarks.fleet.queueing import ServerModel, simulate
from scripts.benchmarks.timing import noise
from scripts.common.arguments import positive_int, positive_number, size
from scripts.common.machine import machine
from scripts.serving import client_options

USUAL_SIZES = ((640, 360), (1280, 720), (1920, 1080))
CAMERA_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
BURST_SIZES = (1, 2, 4, 8)


def holds(model: ServerModel) -> bool:
    """Tell whether less than one frame in a thousand is late or dropped."""
    if model.overloaded:  # by so little, perhaps, that a simulation ends before the first frame is dropped
        return False
    outcome = simulate(model)
    return outcome.late + outcome.dropped < 0.001


def capacity(model: ServerModel) -> int:
    """Return the most cameras that `model`'s server holds, up to the last of CAMERA_COUNTS."""
    low, high = 0, 1
    while holds(replace(model, cameras=high)):
        if high == CAMERA_COUNTS[-1]:
            return high
        low, high = high, min(2 * high, CAMERA_COUNTS[-1])
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(replace(model, cameras=middle)) else (low, middle)
    return low


class ServiceTime(NamedTuple):
    """What a server does: the seconds that each batch and each frame in it cost, and how many times it enlarges."""

    fixed: float
    each: float
    scale: int


def measure_service(
    address: str | None, picture: tuple[int, int], model: str, config: Path | None = None
) -> ServiceTime:
    """Return the service time of `address`, or of `model` on this machine's own engine, from bursts of frames.

    `config` is a file of the app that says how to talk to that server (scripts/serving/client_options.py). Raises
    UserError.
    """
    depth = BURST_SIZES[-1] + 1  # the last view is borrowed until the next collect()
    engine = engines.load(
        EngineRequest(address or "auto", model, picture, depth=depth, triton=client_options.read(config))
    )
    frame, points = noise(picture), []
    with engine:
        scale = engine.spec.scale
        for count in BURST_SIZES * 6:
            begun = time.perf_counter()
            for _ in range(count):
                engine.reserve()
                engine.submit(frame, None)
            for _ in range(count):
                engine.collect(60)
            points.append((count, time.perf_counter() - begun))
    took = [
        statistics.median(seconds for n, seconds in points[len(BURST_SIZES) :] if n == count) for count in BURST_SIZES
    ]
    each, fixed = np.polyfit(np.array(BURST_SIZES), np.array(took), 1)
    return ServiceTime(max(0.0, float(fixed)), max(1e-5, float(each)), scale)


@dataclass(frozen=True)
class WireBits:
    """The bits of a frame and of its answer."""

    up: float
    down: float


def wire_bits(picture: tuple[int, int], scale: int, quality: int = 90) -> dict[str, WireBits]:
    """Return the bits of both as they are, raw, and as JPEG of the demo's scene."""
    source = open_source(camera=None, source="demo", size=picture, fps=240.0, loop=False)
    frame: Image = next(iter(source)).image.copy()
    source.close()
    height, width, _ = frame.shape
    large = bicubic.enlarge(frame, np.empty((scale * height, scale * width, 3), np.uint8))

    def file(image: Image) -> float:
        return 8.0 * len(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])

    return {"raw": WireBits(8.0 * frame.nbytes, 8.0 * large.nbytes), "jpeg": WireBits(file(frame), file(large))}


def table(model: ServerModel, picture: tuple[int, int], scale: int, link: float) -> str:
    """Return servers and network load for 1 to 10,000 cameras, as text.

    `link` is a server's network in bits a second.
    """
    most = capacity(model)
    bits = wire_bits(picture, scale)
    raw, jpeg = (wire.down * model.fps for wire in (bits["raw"], bits["jpeg"]))
    lines = [
        f"one server: {model.fixed * 1000:.1f} + {model.each * 1000:.2f} n ms a batch of n (up to {model.batch}); "
        f"it holds {most} cameras at {model.fps:g} fps",
        f"a camera's answers: {raw / 1e6:.0f} Mbit/s raw, {jpeg / 1e6:.0f} Mbit/s JPEG; "
        f"its frames: {bits['raw'].up * model.fps / 1e6:.0f} and {bits['jpeg'].up * model.fps / 1e6:.0f}",
    ]
    if most == 0:
        return "\n".join([*lines, "Not even one camera: choose a smaller size, a lower rate or a faster model."])
    head = f"{'cameras':>8}{'servers':>9}{'each holds':>12}{'p50 ms':>8}{'p99 ms':>8}{'late':>8}{'dropped':>9}"
    lines.append(head + f"{'raw Gbit/s':>12}{'JPEG Gbit/s':>13}")
    for count in CAMERA_COUNTS:
        # The network of a server is a limit as its device is; JPEG is what a network carries (transport: auto).
        held = max(1, min(most, int(link / jpeg)))
        servers = math.ceil(count / held)
        outcome = simulate(replace(model, cameras=math.ceil(count / servers)))
        lines.append(
            f"{count:>8}{servers:>9}{math.ceil(count / servers):>12}{outcome.p50:>8.1f}{outcome.p99:>8.1f}"
            f"{outcome.late:>8.2%}{outcome.dropped:>9.2%}{count * raw / 1e9:>12.2f}{count * jpeg / 1e9:>13.2f}"
        )
    return "\n".join(lines)


def every(pattern: ServerModel, sizes: Sequence[tuple[int, int]] = USUAL_SIZES) -> Iterator[str]:
    """Yield a Markdown table of what this machine's own engine takes for each shipped model, and the cameras it holds.

    `pattern` has the rest: the rate of the cameras and the batcher. Raises UserError.
    """
    yield "| model | input | ms for n frames | cameras it holds | a camera's answers, Mbit/s raw / JPEG |"
    yield "|---|---|---:|---:|---:|"
    for kind in [models[0] for models, _ in catalog.families()]:
        name = f"{kind.name}-x{kind.scale}"
        for picture in sizes:
            fixed, each, scale = measure_service(None, picture, name)
            bits = wire_bits(picture, scale)
            raw, jpeg = (wire.down * pattern.fps / 1e6 for wire in (bits["raw"], bits["jpeg"]))
            most = capacity(replace(pattern, fixed=fixed, each=each))
            cost = f"{fixed * 1000:.1f} + {each * 1000:.2f} n"
            yield f"| {name} | {picture[0]}x{picture[1]} | {cost} | {most} | {raw:.0f} / {jpeg:.0f} |"


def check(counts: list[int], fps: list[float], picture: tuple[int, int], seconds: float) -> Iterator[str]:
    """Yield a table, simulated and measured, for fleets at these sizes and rates against a real server on this machine.

    Raises UserError.
    """
    from scripts.benchmarks.fleet.fleet import SERVED_MODEL, Fleet, drive, served

    with served(picture) as server:
        address = f"triton://{server.address}/{SERVED_MODEL}"
        fixed, each, _ = measure_service(address, picture, "fast")
        yield f"service measured: {fixed * 1000:.2f} + {each * 1000:.2f} n ms"
        yield f"{'cameras':>8}{'fps':>6} |{'total fps':>16} |{'p50 ms':>16} |{'p99 ms':>16} |{'dropped':>18}"
        yield f"{'':>14} |" + " |".join([f"{'sim':>8}{'real':>8}"] * 3) + f" |{'sim':>9}{'real':>9}"
        for count, rate in itertools.product(counts, fps):
            real = drive(Fleet(count, address, picture, rate, seconds))
            model = ServerModel(count, rate, fixed, each, batch=1, gather=0.0)
            guess = simulate(model)
            p50, p99 = (statistics.median(camera[key] for camera in real.cameras) for key in ("p50", "p99"))
            lost = real.total("dropped") / (count * rate * seconds)
            yield (
                f"{count:>8}{rate:>6g} |{guess.fps:>8.1f}{real.total('fps'):>8.1f} |{guess.p50:>8.1f}{p50:>8.1f} |"
                f"{guess.p99:>8.1f}{p99:>8.1f} |{guess.dropped:>9.1%}{lost:>9.1%}"
            )


def times(text: str) -> tuple[float, float]:
    """Return (1.5, 10.0) for "1.5,10": neither is below 0, and not both are 0. Raises argparse's own error."""
    try:
        fixed, each = (float(part) for part in text.split(","))
    except ValueError:
        fixed, each = 0.0, 0.0
    if not (min(fixed, each) >= 0 and 0 < fixed + each < math.inf):
        raise argparse.ArgumentTypeError(f"it must be two times in milliseconds, such as 1.5,10, not {text}")
    return fixed, each


def counts(text: str) -> list[int]:
    """Return [1, 2] for "1,2". Raises argparse's own error."""
    return [positive_int(part) for part in text.split(",")]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--measure", metavar="triton://...", help="measure the service time of this server")
    source.add_argument("--service", type=times, metavar="A,B", help="service time in ms: A per batch and B per frame")
    source.add_argument("--every", action="store_true", help="print a row for every shipped model and size")
    client_options.add_option(parser)
    parser.add_argument("--model", default="fast", help="model for this machine's own engine [fast]")
    parser.add_argument("--scale", type=positive_int, help="scale of the model, with --service only [2]")
    parser.add_argument(
        "--size", type=size, default=(640, 360), metavar="WxH", help="size of a camera's frames [640x360]"
    )
    parser.add_argument("--fps", type=positive_number, default=30.0, help="frame rate of a camera [30]")
    parser.add_argument("--batch", type=positive_int, default=8, help="largest batch [8]")
    parser.add_argument(
        "--link", type=positive_number, default=10.0, help="network bandwidth of a server in Gbit/s [10]"
    )
    parser.add_argument("--check", type=counts, metavar="N,N", help="compare with real fleets of N cameras")
    parser.add_argument("--seconds", type=positive_number, default=8.0, help="duration of each real fleet [8]")
    options = parser.parse_args(arguments)
    if options.scale and not options.service:
        parser.error("argument --scale: it needs --service; a measured model has its own scale")
    if options.config and not options.measure:
        parser.error("argument --config: it needs --measure")
    about = machine()
    print(f"{about['processor']}, {about['cores']} cores; {options.size[0]}x{options.size[1]}")
    try:
        if options.check:
            rates = [options.fps / 3, options.fps]
            for line in check(options.check, rates, options.size, options.seconds):
                print(line, flush=True)
            return 0
        pattern = ServerModel(1, options.fps, batch=options.batch, gather=0.1 / options.fps)
        if options.every:
            for line in every(pattern):
                print(line, flush=True)
            return 0
        if options.service:
            fixed, each = (value / 1000 for value in options.service)
            service = ServiceTime(fixed, each, options.scale or 2)
        else:
            service = measure_service(options.measure, options.size, options.model, options.config)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(
        table(replace(pattern, fixed=service.fixed, each=service.each), options.size, service.scale, options.link * 1e9)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
