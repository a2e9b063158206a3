#!/usr/bin/env python3
"""Train a network from a recipe.

  python scripts/train.py configs/train/fast-x3.yaml --data FOLDER [FOLDER ...]

Training is seeded and can be resumed: the batch of a step depends on the seed and the step alone, so a run that was
interrupted and continued ends like one that was not. Writes checkpoint.pt, log.csv and its plot log.svg into --out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import torch

from engines.errors import UserError
from engines.support import atomic_file
from scripts.common.arguments import non_negative_int, positive_int
from scripts.common.test_sets import check
from scripts.training.data_terms import network_terms
from scripts.training.recipe import Recipe
from scripts.training.run_log import RunLog, TrainError
from scripts.training.trainer import Training, raise_if_unusable, train


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="YAML file; configs/train has the recipes of the shipped models")
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="folders of photographs, searched recursively"
    )
    parser.add_argument(
        "--eval", type=Path, nargs="*", default=[], help="test sets to measure at each checkpoint (Set5 ...)"
    )
    parser.add_argument("--out", type=Path, help="folder for checkpoint and log [runs/<recipe>]")
    parser.add_argument("--every", type=positive_int, default=1000, help="steps between checkpoints [1000]")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="use torch.compile: faster after a minute, same result")
    parser.add_argument(
        "--workers", type=non_negative_int, help="processes that prepare batches [4 for a GPU, else none]"
    )
    options = parser.parse_args(arguments)
    workers = options.workers if options.workers is not None else 4 * options.device.startswith("cuda")
    out = options.out or Path("runs") / options.recipe.stem
    try:
        recipe = Recipe.read(options.recipe)
        raise_if_unusable(options.device)
        check(options.eval, recipe.scale)
        atomic_file.check(out / "checkpoint.pt")
        recipe.network()  # an error in it appears before photographs are read or a folder is made
        out.mkdir(parents=True, exist_ok=True)
        log = RunLog(out, options.eval)
        photos = recipe.photos(options.data, options.device)
        run = Training(recipe, photos, device=options.device, compiled=options.compile, workers=workers)
        if (out / "checkpoint.pt").exists():
            run.resume(out / "checkpoint.pt")
        run.terms = network_terms(recipe, options.data)
        log.resume(run.step)
        train(run, log, out, options.eval, options.every)
    except (UserError, OSError) as error:  # an OSError names its file: an --out that is none, a picture of a test set
        print(error, file=sys.stderr)
        return 2
    except torch.OutOfMemoryError as error:
        facts = str(error).partition(". ")[0]
        fix = "Give fewer photographs, or a smaller batch, crop or longest; or close what else uses the GPU."
        print(TrainError("The GPU has too little memory", facts, fix), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
