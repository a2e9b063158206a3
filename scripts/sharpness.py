#!/usr/bin/env python3
"""Measure how much sharper than bicubic a film looks, and what that costs.

  python scripts/sharpness.py CLIP --model fast-webcam --model fast

For each film and model, against OpenCV's bicubic of the same frames:

  edge       mean gradient on bicubic's strongest edges, as a multiple of bicubic's: 1.00 is as soft as bicubic
  halos      % of pixels beyond what bicubic has in 9x9 pixels by more than 6 grey levels
  tight      % of pixels beyond what bicubic has in 5x5 pixels at all
  flicker    standard deviation over time where bicubic is calmest, as a multiple of bicubic's
  change     mean absolute difference from bicubic in grey levels; below about 1 nobody sees it

Below each model stands bicubic with an unsharp mask that makes its edges as steep: a network is worth its time where
it has fewer halos and less flicker than that. The constants are in scripts/evaluation/sharpness.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says which extra brings what is missing

# isort: split
from engines.errors import UserError
from scripts.evaluation.sharpness import Sharpness, SharpnessFilm


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, nargs="+", help="a film")
    parser.add_argument("--model", action="append", default=[], help="a name or an .onnx file; again for more")
    parser.add_argument("--scale", type=int, choices=(2, 3, 4), default=2, help="how many times to enlarge [2]")
    parser.add_argument("--engine", default="openvino", help="what runs the models [openvino]")
    options = parser.parse_args(arguments)
    try:
        for path in options.clip:
            film = SharpnessFilm(path, options.scale)
            print(f"{film.name}: {len(film.frames)} frames", flush=True)
            for model in options.model:
                measured, _, precision = film.of_model(model, options.engine)
                print(line(f"{Path(model).name} {precision}", measured), flush=True)
                print(line("bicubic, unsharp mask", film.measure(film.unsharp(measured.edge))), flush=True)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def line(name: str, measured: Sharpness) -> str:
    """Return the line that tells what was measured of one upscaler."""
    return (
        f"  {name:<36} edge x{measured.edge:.2f}  halos {measured.overshoot:.2%}  tight {measured.tight_overshoot:.2%}"
        f"  flicker x{measured.flicker:.2f}  change {measured.change:.2f}"
    )


if __name__ == "__main__":
    sys.exit(main())
