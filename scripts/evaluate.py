#!/usr/bin/env python3
"""Measure shipped models on test sets, through the engine that people use.

  python scripts/evaluate.py FOLDER

FOLDER holds one folder for each set, laid out as scripts/common/test_sets.py says (Set5, Set14 ...). PSNR is in dB
of BT.601 luma, rounded to 8 bits, `scale` pixels of border cut, averaged over the pictures; SSIM is of the same luma;
bicubic is OpenCV's; loss is how much PSNR is lost against the same network in fp32. With OpenVINO the precisions are:
fp32 computed in f32; bf16 (or f16) the same file as this processor computes it by default; fp16 every value rounded to
float16 (by ONNX's reference evaluator); int8.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
from engines.errors import UserError
from scripts.common import results
from scripts.evaluation.measure import evaluate

TEXT_COLUMNS, NUMBER_COLUMNS = ("set", "model", "precision"), ("pictures", "PSNR", "SSIM", "bicubic", "gain")
EVALUATION_HEADER = "{:<8} {:<18} {:<9}".format(*TEXT_COLUMNS) + " {:>8} {:>7} {:>7} {:>8} {:>6}  loss".format(
    *NUMBER_COLUMNS
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of test sets")
    parser.add_argument("--model", action="append", help="model name or .onnx file; may be repeated [all shipped]")
    parser.add_argument("--engine", default="openvino", help="engine to run it [openvino]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    options = parser.parse_args(arguments)
    figures: list[dict[str, object]] = []
    try:
        results.check(options.json)
        for result in evaluate(options.folder, options.engine, options.model or []):
            print(result if figures else f"{EVALUATION_HEADER}\n{result}", flush=True)
            figures.append(result.as_dict())
        if options.json:
            results.write_json(options.json, figures)
    except (UserError, OSError) as error:  # an OSError names its file: a picture that is missing, say
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
