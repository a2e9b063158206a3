#!/usr/bin/env python3
"""Measure the project's figures on this machine.

  python scripts/bench.py

Everything is measured in one run, on the same input and with the same number of threads; compared values are measured
in turns.

  engine   the engine, looped on one frame
  eager    the same network in eager PyTorch, fp32, on the same cores (needs the extra `train`); if the engine
           runs on a GPU, so does PyTorch, additionally in fp16 and with torch.compile
  isolate  the same engine in its own process, against this one's
  app      the whole app, headless, with a file as its input and nothing recorded, against the bare engine
  start    the app's process from its start to its end after one frame of the demo, with warm caches
  latency  what the app adds to the engine's own time at a camera's 30 fps, or at 70 % of the engine's rate if lower
  memory   how much memory grows over 5,000 frames

With --against REF_OR_FOLDER it compares this build with another one instead, in turns, each in its own process: engine,
app, start and memory, each as a ratio with its spread (scripts/benchmarks/builds/). With --fleet N it drives N
cameras through a real Triton Inference Server on this machine instead (scripts/benchmarks/fleet/).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
from engines.catalog import shipped as catalog
from engines.errors import UserError
from scripts.benchmarks.builds.comparison import BuildComparison
from scripts.benchmarks.builds.driver import (
    COMPARED_PARTS,
    DEFAULT_MEASUREMENT_S,
    DEFAULT_MODEL,
    DEFAULT_ROUNDS,
    ComparisonSettings,
)
from scripts.benchmarks.single_build import BENCH_PARTS, Bench, BenchSettings, table
from scripts.common import results
from scripts.common.arguments import positive_int, positive_number, size
from scripts.common.figure import FIGURE_HEADER
from scripts.common.machine import machine
from scripts.serving import client_options


def fleet(cameras: int, minutes: float | None, config: Path | None, options: dict[str, Any]) -> int:
    """Do what --fleet asks for, and return the exit status.

    With --engine triton://... the cameras go to that server, else to one started here, which is compared with its
    rivals.
    """
    from engines.openvino import engine as openvino_engine
    from scripts.benchmarks.fleet.fleet import Fleet, drive
    from scripts.benchmarks.fleet.rivals import compare
    from scripts.benchmarks.fleet.survival import survive

    size, seconds, engine, file = (options[key] for key in ("size", "seconds", "engine", "json"))
    about = machine()
    print(f"{about['processor']}, {about['cores']} cores; {size[0]}x{size[1]}, {cameras} cameras")
    try:
        results.check(file)
        if minutes:
            details: dict[str, Any] = survive(cameras, minutes)
            print(json.dumps(details, indent=2))
        elif engine.startswith("triton://"):
            only = drive(Fleet(cameras, engine, size, seconds=seconds, config=config))
            print(only.table())
            details = {"fleets": {engine: asdict(only)}}
        else:
            model = catalog.find(options["model"], openvino_engine.precisions()).stem  # as the local engine chooses
            print(model)
            result = compare(cameras, model, size, seconds)
            for name, outcome in result.fleets.items():
                print(f"\n{name}\n{outcome.table()}")
            print(f"\n{FIGURE_HEADER}", *result.figures, sep="\n")
            details = {"figures": [asdict(outcome) for outcome in result.figures]}
            details["fleets"] = {name: asdict(outcome) for name, outcome in result.fleets.items()}
        if file:
            results.write_json(file, {"machine": about} | details)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def compare(options: dict[str, Any], file: Path | None) -> int:
    """Do what --against asks for, and return the exit status."""
    try:
        results.check(file)
        compared = BuildComparison(ComparisonSettings(**options))
        try:
            compared.run()
        finally:  # a build that fails does not take with it what was measured before
            if compared.measured or compared.notes:
                print(compared.table())
            if file:
                results.write_json(file, compared.as_dict())
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def measure_this(options: dict[str, Any], file: Path | None) -> int:
    """Measure this build alone, and return the exit status."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(BenchSettings(**options, folder=Path(folder)))
        try:
            results.check(file)
            try:
                bench.run()
            finally:  # a part that fails does not take with it what was measured before
                if bench.figures:
                    print(table(bench))
                if file:
                    results.write_json(file, bench.as_dict())
        except UserError as error:
            print(error, file=sys.stderr)
            return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--size", type=size, default=(640, 360), metavar="WxH", help="size of the input [640x360]")
    options.add_argument(
        "--threads",
        type=positive_int,
        default=machine()["cores"],
        help="threads for the engine and PyTorch [all cores]",
    )
    options.add_argument(
        "--seconds",
        type=positive_number,
        help=f"duration of each measurement [10; with --against {DEFAULT_MEASUREMENT_S:g}]",
    )
    options.add_argument(
        "--rounds", type=positive_int, metavar="N", help=f"rounds in turns [5; with --against {DEFAULT_ROUNDS}]"
    )
    options.add_argument("--engine", default="openvino", help="engine [openvino]")
    options.add_argument(
        "--model",
        action="append",
        help=f"model name or .onnx file [fast]; with --against may be repeated [{DEFAULT_MODEL}]",
    )
    options.add_argument("--clip", type=Path, help="film of that size for the app [made from the demo]")
    options.add_argument(
        "--only",
        nargs="+",
        action="extend",
        choices=BENCH_PARTS,
        help="measure these parts only; may be repeated [all]",
    )
    options.add_argument("--json", type=Path, metavar="FILE", help="write all measurements to this file")
    options.add_argument(
        "--against", metavar="REF_OR_FOLDER", help="instead compare with the build of a git ref or a checkout"
    )
    options.add_argument(
        "--fleet", type=positive_int, metavar="N", help="instead drive N simulated cameras through a real Triton"
    )
    options.add_argument(
        "--survive",
        type=positive_number,
        metavar="MINUTES",
        help="with --fleet: kill the server several times meanwhile",
    )
    client_options.add_option(options)
    return options


def refuse_contradictions(command_line: argparse.ArgumentParser, options: dict[str, Any]) -> None:
    """End with argparse's error where options do not go together."""
    cameras, minutes = options["fleet"], options["survive"]
    if options["against"] and (cameras or minutes or options["config"]):
        command_line.error("--against cannot be combined with --fleet, --survive or --config")
    if minutes and not cameras:
        command_line.error("--survive needs --fleet N")
    if options["config"] and (minutes or not cameras or not options["engine"].startswith("triton://")):
        command_line.error("--config needs --fleet N --engine triton://...")
    if not options["against"] and len(options["model"] or ()) > 1:
        command_line.error("several --model need --against REF_OR_FOLDER")
    if options["against"] and not set(options["only"] or ()) <= set(COMPARED_PARTS):
        command_line.error(f"--against compares {', '.join(COMPARED_PARTS)}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    command_line = parser()
    options = vars(command_line.parse_args(arguments))
    refuse_contradictions(command_line, options)
    cameras, minutes, config, other = (options.pop(name) for name in ("fleet", "survive", "config", "against"))
    models, parts, file = options.pop("model"), options.pop("only"), options.pop("json")
    given = {name: value for name, value in options.items() if value is not None}
    if other:
        models = tuple(dict.fromkeys(models or [DEFAULT_MODEL]))
        given |= {"other": other, "models": models, "parts": tuple(parts or COMPARED_PARTS)}
        return compare(given, file)
    given |= {"model": models[0] if models else "fast"}
    if cameras:
        return fleet(cameras, minutes, config, {"seconds": 10.0} | given | {"json": file})
    return measure_this(given | {"parts": tuple(parts or BENCH_PARTS)}, file)


if __name__ == "__main__":
    sys.exit(main())
