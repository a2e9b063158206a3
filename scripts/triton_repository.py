#!/usr/bin/env python3
"""Write a model repository for a stock Triton Inference Server.

  python scripts/triton_repository.py FOLDER

The flavours are:

  python          OpenVINO in Triton's Python backend: a server without a GPU
  openvino        Triton's OpenVINO backend: a server without a GPU
  onnxruntime     ONNX Runtime with its TensorRT accelerator: a GPU, nothing to build beforehand
  tensorrt_plan   TensorRT: the fastest on a GPU; FOLDER/build_plans.sh builds the plans on the server that runs them

Each model is served as NAME (pictures) and NAME-jpeg (JPEG files in and out, for cameras behind a network).
configs/triton/Dockerfile installs what the Python models import.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
from engines.errors import UserError
from scripts.common.arguments import non_negative_int, positive_int, positive_number, size
from scripts.serving.model_config import FLAVOURS, MIN_INPUT_PX, ServingConfig
from scripts.serving.repository import chosen_models, write_repository


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    plan = ServingConfig()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--flavour", choices=FLAVOURS, default=plan.flavour, help=f"[{plan.flavour}]")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME|FILE",
        help="model to serve; may be repeated [all shipped]",
    )
    parser.add_argument(
        "--fps", type=positive_number, default=plan.fps, help="frame rate of a camera; bounds the queues [30]"
    )
    parser.add_argument("--size", type=size, default=plan.size, metavar="WxH", help="usual size of the input [640x360]")
    parser.add_argument(
        "--largest",
        type=size,
        default=plan.largest,
        metavar="WxH",
        help="largest size of the input; TensorRT only [as --size]",
    )
    parser.add_argument("--batch", type=positive_int, default=plan.batch, help="largest batch [8]")
    parser.add_argument(
        "--instances", type=positive_int, default=plan.instances, help="instances of each model on each GPU [2]"
    )
    parser.add_argument(
        "--threads",
        type=non_negative_int,
        default=plan.threads,
        help="threads of an instance without a GPU; 0: all [0]",
    )
    parser.add_argument("--no-jpeg", dest="jpeg", action="store_false", help="leave out the JPEG variants")
    parser.add_argument(
        "--quality", type=positive_int, default=plan.quality, help="quality of the JPEG answers, 1 to 100 [90]"
    )
    options = vars(parser.parse_args(arguments))
    folder, names, largest = options.pop("folder"), options.pop("model"), options["largest"] or options["size"]
    if options["quality"] > 100:
        parser.error("argument --quality: it must be from 1 to 100")
    if min(options["size"]) < MIN_INPUT_PX:
        parser.error(f"argument --size: it must be at least {MIN_INPUT_PX}x{MIN_INPUT_PX}")
    if largest[0] < options["size"][0] or largest[1] < options["size"][1]:
        parser.error("argument --largest: it must not be smaller than --size")
    try:
        write_repository(folder, chosen_models(names), ServingConfig(**options))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Error: {folder} cannot be written\n  {error}\n  Give another folder.", file=sys.stderr)
        return 2
    print(f"{folder}: {', '.join(sorted(path.parent.name for path in folder.glob('*/config.pbtxt')))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
