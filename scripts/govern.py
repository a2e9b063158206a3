#!/usr/bin/env python3
"""Measure whether the governor holds the rate.

  python scripts/govern.py --fps 30

The app's own source, engine and pipeline run without a window, while processes that only compute run on the same cores
in some spans of the run and not in others. With --alone, the run is repeated with one model. Prints the rate held in
each span, and every step of the governor.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
from app.config.schema import Config
from app.engine_request import engine_loader
from app.governor.driver import GovernorDriver
from app.pipeline.build_preview import BuildPreview
from app.pipeline.frame import OutputFrame
from app.pipeline.pipeline import Pipeline
from app.pipeline.stats import Stats
from app.session import open_input
from app.system.telemetry import Telemetry
from engines.errors import UserError
from scripts.benchmarks.timing import BenchError
from scripts.common import results
from scripts.common.arguments import non_negative_int, positive_number, size

WORST_SPAN_S = 5.0
"""Seconds over which the worst rate is reported."""
FIRST_PICTURE_TIMEOUT_S = 120.0
"""Seconds until the first picture of an engine."""
BUSY_LOOP = "while True: pass"


@dataclass
class ShownPicture:
    """A picture that reached the end of the pipeline."""

    at: float
    index: int
    model: str


@dataclass
class GovernorTrial:
    """The outcome of one run. Times are in seconds of time.monotonic()."""

    name: str
    fps: float
    spans: list[tuple[str, float, float]] = field(default_factory=list)
    """What went on, from, until."""
    pictures: list[ShownPicture] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)

    def held(self, begun: float, ended: float) -> float:
        """Return the pictures shown in that time, as a share of those asked for."""
        return sum(begun <= picture.at < ended for picture in self.pictures) / ((ended - begun) * self.fps)

    def worst(self, begun: float, ended: float) -> float:
        """Return that share for the worst WORST_SPAN_S seconds in it."""
        starts = [begun + second * 0.5 for second in range(int((ended - begun - WORST_SPAN_S) * 2) + 1)]
        return min((self.held(start, start + WORST_SPAN_S) for start in starts), default=self.held(begun, ended))

    def lines(self) -> Iterator[str]:
        """Yield the trial as Markdown."""
        yield f"| {self.name} | rate held | worst {WORST_SPAN_S:g} s | models |"
        yield "|---|---|---|---|"
        for what, begun, ended in self.spans:
            models = dict.fromkeys(picture.model for picture in self.pictures if begun <= picture.at < ended)
            yield (
                f"| {what}, {ended - begun:.0f} s | {self.held(begun, ended):.1%} | {self.worst(begun, ended):.1%} "
                f"| {', '.join(models)} |"
            )
        yield f"| all | {self.held(self.spans[0][1], self.spans[-1][2]):.1%} | | {len(self.steps)} steps |"
        yield ""
        for step in self.steps:
            yield f"- {step['seconds']:.1f} s: {step['from']} -> {step['to']}: {step['why']}"


class PictureLog:
    """The last sink. It notes every picture."""

    def __init__(self, stats: Stats) -> None:
        self.pictures: list[ShownPicture] = []
        self._stats = stats

    def write(self, frame: OutputFrame) -> None:
        """Note the picture."""
        spec = self._stats.spec
        self.pictures.append(ShownPicture(time.monotonic(), frame.input.index, spec.model if spec else ""))


@contextmanager
def processor_load(processes: int) -> Iterator[None]:
    """Keep `processes` processes computing for the time of the block."""
    busy = [subprocess.Popen([sys.executable, "-c", BUSY_LOOP]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def run(name: str, config: Config, spans: Sequence[float], processes: int) -> GovernorTrial:
    """Run the pipeline for `spans`, in seconds, without and with load in turns. Raises UserError."""
    stats, trial = Stats(), GovernorTrial(name, config.input.fps or 30.0)
    counter, failure = PictureLog(stats), list[BaseException]()
    with closing(Telemetry(config.telemetry)) as telemetry, closing(open_input(config)) as source:
        steering = GovernorDriver(lambda: trial.fps, lambda: telemetry.current, hot=config.telemetry.warn_temperature)
        loading = BuildPreview(auto=False)
        pipeline = Pipeline(
            source,
            engine_loader(config, source, stats, loading, steering),
            stats,
            after=[counter],
            lossless=False,
            observer=loading,
        )

        def work() -> None:
            try:
                pipeline.run()
            except BaseException as error:
                failure.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            _until_shown(counter, config, thread, failure)
            for number, seconds in enumerate(spans):
                with processor_load(processes if number % 2 else 0):
                    begun = time.monotonic()
                    thread.join(seconds)
                    trial.spans.append(("load" if number % 2 else "no load", begun, time.monotonic()))
        finally:
            pipeline.stop()
            thread.join(60)
    if failure:
        raise failure[0]
    trial.pictures = counter.pictures
    trial.steps = steering.as_dict()["last_steps"]
    return trial


def _until_shown(counter: PictureLog, config: Config, thread: threading.Thread, failure: list[BaseException]) -> None:
    """Wait for the engine's own first pictures."""
    until = time.monotonic() + FIRST_PICTURE_TIMEOUT_S
    while thread.is_alive() and time.monotonic() < until:
        if any(picture.model != "bicubic" for picture in counter.pictures[-5:]):
            return
        time.sleep(0.1)
    if not failure:
        raise BenchError("No engine makes pictures", f"within {FIRST_PICTURE_TIMEOUT_S:g} s", "Try another --engine.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--fps", type=positive_number, default=30.0, help="frame rate of the demo, which is the rate to hold [30]"
    )
    parser.add_argument(
        "--size", type=size, default=(640, 360), metavar="WxH", help="size of the demo's pictures [640x360]"
    )
    parser.add_argument("--engine", default="auto", help="engine [auto]")
    parser.add_argument("--model", default="fast", help="model to start with [fast]")
    parser.add_argument("--models", default="", metavar="NAMES", help="models to switch between [all of that kind]")
    parser.add_argument(
        "--isolate", action="store_true", help="run each engine in a process of its own, as the kiosk does"
    )
    parser.add_argument(
        "--spans",
        type=positive_number,
        nargs="+",
        default=[30, 20, 40, 20, 40],
        metavar="S",
        help="durations of the spans, the first without load, the second with load, and so on",
    )
    parser.add_argument(
        "--load",
        type=non_negative_int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="number of processes that compute [one per core]",
    )
    parser.add_argument("--alone", metavar="MODEL", help="then repeat with this model and no governor")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all measurements to this file")
    options = parser.parse_args(arguments)
    common = {"input": {"source": "demo", "size": options.size, "fps": options.fps}}
    engine = {"name": options.engine, "isolate": options.isolate}
    trials = []
    try:
        results.check(options.json)
        for name, model, governor in (
            ("with the governor", options.model, {"enabled": True, "models": options.models}),
            ("without", options.alone, {"enabled": False}),
        ):
            if model:
                config = Config.model_validate(common | {"engine": engine | {"model": model}, "governor": governor})
                trials.append(run(name, config, options.spans, options.load))
                print(*trials[-1].lines(), "", sep="\n", flush=True)
        if options.json:
            results.write_json(options.json, [asdict(trial) for trial in trials])
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
