#!/usr/bin/env python3
"""Export a trained network, or put a third-party one under the contract.

  python scripts/export.py runs/fast-x2/checkpoint.pt engines/models/fast-x2.onnx
  python scripts/export.py --wrap theirs.onnx their-x4.onnx             any ONNX network, picture to picture
  python scripts/export.py --strength fast-x2.onnx fast-x2.onnx         one exported before there was a strength

An exported network is compared with the PyTorch network before it is written; exporter.network_from_onnx() goes the
other way. A wrapped one is compared with the original (scripts/conversion/wrapper.py); that needs no PyTorch.
--strength gives a file of this project, in any precision, the input that scales its detail, and touches no weight.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
from engines.errors import UserError
from scripts.conversion.exporter import export
from scripts.conversion.strength import upgrade
from scripts.conversion.wrapper import MAX_MULTIPLE, wrap


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="checkpoint.pt of scripts/train.py; with --wrap an .onnx file")
    parser.add_argument("file", type=Path, help="NAME-x<scale>.onnx to write")
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--wrap", action="store_true", help="put somebody else's network under the contract")
    ways.add_argument("--strength", action="store_true", help="give an exported file the input `strength`")
    group = parser.add_argument_group(
        "facts about a network to wrap", "each is detected if left out; where that is impossible, an error asks for it"
    )
    group.add_argument("--order", choices=("rgb", "bgr"), help="order of the colour channels")
    group.add_argument("--range", type=int, choices=(1, 255), dest="white", help="value of white; black is 0")
    group.add_argument("--multiple", type=int, metavar="N", help="number that height and width must be multiples of")
    group.add_argument("--scale", type=int, metavar="N", help="how many times it enlarges; checked")
    options = parser.parse_args(arguments)
    wrapping = {name: getattr(options, name) for name in ("order", "white", "multiple", "scale")}
    if not options.wrap and any(wrapping.values()):
        parser.error("--order, --range, --multiple and --scale need --wrap")
    if options.multiple is not None and not 1 <= options.multiple <= MAX_MULTIPLE:
        parser.error(f"--multiple must be from 1 to {MAX_MULTIPLE}")
    try:
        if options.wrap:
            print(wrap(options.source, options.file, **wrapping))
        elif options.strength:
            print(upgrade(options.source, options.file))
        else:
            print(export(options.source, options.file))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
