#!/usr/bin/env python3
"""Measure what a window in its own process costs.

  python scripts/benchmarks/window_cost.py

It opens both windows on the screen of DISPLAY, or without one on an Xvfb. Both show the same pictures in turns; it
prints the time from handing a picture over until it has been shown, as far as OpenCV reports that, and how much longer
this takes with the window in its own process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import numpy as np

from app.errors import SinkError
from app.overlays.view_state import ViewState
from app.pipeline.frame import Frame, OutputFrame
from app.sinks.window.opencv_window import OpenCvWindow
from app.sinks.window.window_process import WindowProcess
from scripts.benchmarks.timing import alternate
from scripts.common.arguments import positive_int, size
from scripts.kiosk.fake_camera import scene
from scripts.kiosk.x_server import XServer

PICTURE_PERIOD_S = 1 / 30


def median_write_s(window: OpenCvWindow | WindowProcess, pictures: list[OutputFrame], times: list[float]) -> float:
    """Return the median of the seconds that `window` takes to show one of `pictures`.

    All the times are appended to `times`.
    """
    taken = []
    for picture in pictures:
        begun = time.monotonic()
        window.write(picture)
        taken.append(time.monotonic() - begun)
        time.sleep(max(0.0, PICTURE_PERIOD_S - taken[-1]))
    times += taken
    return statistics.median(taken)


@contextmanager
def any_display() -> Iterator[None]:
    """Set DISPLAY to an Xvfb for the time of the block, unless there is a display already."""
    if os.environ.get("DISPLAY"):
        yield
        return
    with tempfile.TemporaryDirectory() as folder, closing(XServer(Path(folder), (1920, 1080))) as server:
        os.environ["DISPLAY"] = server.display
        yield


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=size, default=(1280, 720), metavar="WxH", help="size of the pictures [1280x720]")
    parser.add_argument("--rounds", type=positive_int, default=10, help="rounds of one second each [10]")
    options = parser.parse_args(arguments)
    shape = "x".join(map(str, options.size))
    images = [scene(count, options.size) for count in range(round(1 / PICTURE_PERIOD_S))]
    pictures = [OutputFrame(image, Frame(image, 0, 0.0, 0.0)) for image in images]
    actions = {name: (lambda: None) for name in ("quit", "record", "snapshot", "stronger", "weaker")}
    try:
        with (
            any_display(),
            closing(OpenCvWindow("in this process", ViewState(), actions)) as here,
            closing(WindowProcess("in its own", ViewState(), actions)) as apart,
        ):
            times: tuple[list[float], list[float]] = ([], [])
            median_write_s(here, pictures, [])  # opens it
            median_write_s(apart, pictures, [])
            loops = (
                partial(median_write_s, here, pictures, times[0]),
                partial(median_write_s, apart, pictures, times[1]),
            )
            rounds = alternate(loops, options.rounds)
    except SinkError as error:
        print(error, file=sys.stderr)
        return 2
    for name, kept in zip(("in this process", "in its own"), times, strict=True):
        p50, p99 = np.percentile(kept, (50, 99)) * 1000
        print(f"{name:<16} p50 {p50:6.2f} ms, p99 {p99:6.2f} ms, {len(kept)} pictures of {shape}")
    later = statistics.median(b - a for a, b in zip(*rounds, strict=True)) * 1000
    print(
        f"in a process of its own, later by {later:.2f} ms, the median over {options.rounds} rounds measured in turns"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
