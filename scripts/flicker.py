#!/usr/bin/env python3
"""Measure how much a still scene flickers.

  python scripts/flicker.py CLIP --model fast --model fast-webcam

Sensors and codecs change grey levels where the scene does not change; a network may amplify or reduce that.

  window    FLICKER_FRAMES consecutive frames (a second of most cameras); windows do not overlap
  static    pixels of the camera's picture whose luma, low-passed by a Gaussian of LOW_PASS_SIGMA pixels to average
            noise away, stays within STILL_LEVELS grey levels over the window, as do all pixels up to BORDER_PX away,
            which a network looks at too; judged from the clip alone, so the mask is the same for all models
  flicker   the standard deviation over the window of each output pixel's luma (BT.601, 8-bit results), averaged over
            the static pixels of all windows, in grey levels

The constants are in scripts/evaluation/flicker.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
from engines.errors import UserError
from scripts.evaluation.flicker import FLICKER_FRAMES, Clip


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, nargs="+", help="film from a camera that does not move")
    parser.add_argument("--model", action="append", default=[], help="model name or .onnx file; may be repeated")
    parser.add_argument("--engine", default="openvino", help="engine to run it [openvino]")
    options = parser.parse_args(arguments)
    try:
        for clip in map(Clip, options.clip):
            print(f"{clip.name}: {len(clip.windows)} x {FLICKER_FRAMES} frames, {clip.share:.0%} static", flush=True)
            plain, _ = clip.flicker_of("", "bicubic")
            print(f"  {'bicubic':<24} {plain:.3f}")
            for model in options.model:
                figure, precision = clip.flicker_of(model, options.engine)
                print(f"  {f'{model} {precision}':<24} {figure:.3f}  {figure / plain:.2f} of bicubic", flush=True)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
