#!/usr/bin/env python3
"""How much of a picture that stands still moves: python scripts/flicker.py CLIP --model fast --model fast-webcam

Sensors and codecs change grey levels where nothing changes; a network may amplify that or calm it.
  window    FRAMES frames one after the other (a second of most cameras), no two windows overlap
  static    judged from the clip alone, so the same for all models: pixels of the camera's picture whose luma,
            low-passed by a Gaussian of sigma LOW_PASS pixels so that noise is averaged away, keeps within RANGE grey
            levels over the window, and so do all pixels up to MARGIN beside, which a network looks at too
  flicker   the standard deviation over the window of each output pixel's luma (BT.601, 8-bit results), averaged over
            the pixels that lie in static ones, over all windows; in grey levels
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from engines.errors import UserError
from scripts.evaluation.flicker import FLICKER_FRAMES, Clip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, nargs="+", help="a film of a camera that stands still")
    parser.add_argument("--model", action="append", default=[], help="a name or an .onnx file; again for more")
    parser.add_argument("--engine", default="openvino", help="what runs it [openvino]")
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
