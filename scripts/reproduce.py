#!/usr/bin/env python3
"""Train a shipped network, after all networks that it builds on.

  python scripts/reproduce.py NAME --data FOLDER ...

NAME is the name of a recipe in configs/train. The networks that its `start` and `teacher` name are trained first, by
their own recipes, unless they exist. All other options are those of scripts/train.py. A network NAME is written to
runs/NAME.onnx, and its run to the folder runs/NAME; an interrupted run resumes where it was. --plan prints what would
be trained, and trains nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
from engines.errors import UserError
from scripts import train
from scripts.common.checkout import ROOT
from scripts.conversion.exporter import export
from scripts.training import recipe
from scripts.training.data_terms import provenance
from scripts.training.recipe import Recipe, RecipeError


class TrainingStep(NamedTuple):
    """One network to be trained: its recipe, and the file that it becomes."""

    recipe: Path
    file: Path


def training_chain(name: str, exists: Callable[[Path], bool] = Path.is_file) -> list[TrainingStep]:
    """Return what has to be trained for the recipe `name`, that one last.

    `exists` says which networks need not be trained. Raises RecipeError.
    """
    names = sorted(path.stem for path in recipe.RECIPES_FOLDER.glob("*.yaml"))
    if name not in names:
        raise RecipeError(f"There is no recipe {name}", f"there are: {', '.join(names)}", "Give one of these.")
    steps: dict[str, TrainingStep] = {}

    def add(name: str, file: Path, before: tuple[str, ...]) -> None:
        if name in before:
            raise RecipeError("The recipes go round in a circle", " -> ".join([*before, name]))
        path = recipe.RECIPES_FOLDER / f"{name}.yaml"
        parsed = Recipe.read(path)
        for needed in (parsed.start, parsed.teacher):
            if needed and not exists(ROOT / needed):
                add(Path(needed).stem, ROOT / needed, (*before, name))
        steps.setdefault(name, TrainingStep(path, file))

    add(name, ROOT / "runs" / f"{name}.onnx", ())
    return list(steps.values())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [-h] [--plan] NAME [options of train.py]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help="name of a recipe in configs/train: fast-x2, quality-x4 ...")
    parser.add_argument(
        "--plan", action="store_true", help="print the data with its terms and the recipes in order, and exit"
    )
    options, others = parser.parse_known_args(arguments)
    try:
        steps = training_chain(options.name)
        if options.plan:
            print(*provenance(options.name), sep="\n")
        for number, step in enumerate(steps, 1):
            print(f"{number} of {len(steps)}: {step.recipe} -> {step.file}", flush=True)
            if options.plan:
                continue
            out = ROOT / "runs" / step.recipe.stem
            if status := train.main([str(step.recipe), "--out", str(out), *others]):
                return status
            step.file.parent.mkdir(parents=True, exist_ok=True)
            print(export(out / "checkpoint.pt", step.file), flush=True)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
