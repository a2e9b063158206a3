#!/usr/bin/env python3
"""Search for the width, depth and learning rate that give the best picture within a time per frame.

  python scripts/tune.py configs/train/fast-x3.yaml --budget 20 --data FOLDER ... --eval Set5

Each trial is exported and timed on the engine first; one over the budget is not trained. The others are trained for
--steps, and worse ones are stopped early (Optuna's TPE sampler and median pruner). The study is kept in --out: run the
command again for more trials. The best one is written as a recipe.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import optuna
import yaml

import engines
from engines.errors import UserError
from engines.request import EngineRequest
from engines.support import atomic_file
from scripts.benchmarks.timing import EngineLoop, noise
from scripts.common.arguments import positive_int, positive_number, size
from scripts.common.onnx_files import save
from scripts.common.test_sets import check
from scripts.conversion.exporter import build
from scripts.training.photos import Photos
from scripts.training.recipe import Recipe
from scripts.training.run_log import store
from scripts.training.trainer import Training, raise_if_unusable, validate

CHANNEL_CHOICES = (8, 12, 16, 24, 32, 48)
DEPTH_RANGE = (1, 10)
LEARNING_RATE_RANGE = (2e-4, 4e-3)
REPORTS_PER_TRIAL = 10
"""Times that a trial is measured while it is trained; each may end it."""


class TuneError(UserError):
    """Nothing can be searched with what was given."""


@dataclass(frozen=True)
class RecipeSearch:
    """What stays the same over all trials; calling it runs one."""

    recipe: Recipe
    photos: Photos
    tests: list[Path]
    budget: float
    engine: str
    size: tuple[int, int]
    device: str

    def recipe_of(self, trial: optuna.Trial) -> Recipe:
        """Return the recipe that a trial proposes."""
        return replace(
            self.recipe,
            channels=trial.suggest_categorical("channels", CHANNEL_CHOICES),
            depth=trial.suggest_int("depth", *DEPTH_RANGE),
            learning_rate=trial.suggest_float("learning_rate", *LEARNING_RATE_RANGE, log=True),
        )

    @property
    def name(self) -> str:
        """The name of the study: results that differ in any of this cannot be compared."""
        same = json.dumps([self.recipe.values(), self.recipe.digests(), self.photos.digest])
        return (
            f"{self.budget:g} ms on {self.engine} at {self.size[0]}x{self.size[1]}, {self.recipe.steps} steps, "
            f"best on {' '.join(test.name for test in self.tests)}, {hashlib.sha256(same.encode()).hexdigest()[:8]}"
        )

    def milliseconds(self, recipe: Recipe) -> float:
        """Return the time per frame of `recipe`'s network on the engine, in the precision of an fp32 file."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"trial-x{recipe.scale}.onnx"
            save(build(recipe.network().collapsed().eval(), {}), file)
            with engines.load(EngineRequest(self.engine, str(file), self.size)) as engine:
                return EngineLoop(engine, noise(self.size)).seconds(1)

    def __call__(self, trial: optuna.Trial) -> float:
        """Return the mean dB over the test sets.

        Raises TrialPruned for a trial that is too slow or clearly worse.
        """
        recipe = self.recipe_of(trial)
        taken = self.milliseconds(recipe)
        trial.set_user_attr("milliseconds", round(taken, 2))
        if taken > self.budget:
            raise optuna.TrialPruned(f"{taken:.1f} ms a frame")
        run = Training(recipe, self.photos, device=self.device, compiled=False)
        figure = 0.0
        for pictures in run.batches():
            run.advance(*pictures)
            if run.step % max(1, recipe.steps // REPORTS_PER_TRIAL) == 0 or run.step == recipe.steps:
                figure = sum(validate(run.average, test) for test in self.tests) / len(self.tests)
                trial.report(figure, run.step)
                if run.step < recipe.steps and trial.should_prune():
                    raise optuna.TrialPruned(f"{figure:.2f} dB after {run.step} steps")
        return figure


def print_trial(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Print a line about a trial, as it ends."""
    values = ", ".join(f"{k} {v:.2g}" if isinstance(v, float) else f"{k} {v}" for k, v in trial.params.items())
    result = f"{trial.value:.3f} dB" if trial.state.name == "COMPLETE" else "given up"
    if trial.state.name == "PRUNED" and not trial.intermediate_values:
        result = "too slow"
    print(f"{trial.number:4d}  {trial.user_attrs['milliseconds']:6.1f} ms  {result:>10}  {values}", flush=True)


def best(study: optuna.Study, recipe: Recipe) -> str:
    """Return the recipe of the best trial, for the whole length of training.

    Raises TuneError if none was trained.
    """
    done = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    if not done:
        raise TuneError(
            "No trial was trained to its end",
            f"all {len(study.trials)} exceeded the budget or were stopped",
            "Give a larger --budget, or more --trials.",
        )
    won = study.best_trial
    heading = f"# scripts/tune.py, trial {won.number} of {len(study.trials)}: {won.value:.3f} dB, "
    heading += f"{won.user_attrs['milliseconds']} ms a frame\n"
    return heading + yaml.safe_dump(replace(recipe, **won.params).values(), sort_keys=False)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path, help="recipe with what is not searched for: scale, data, loss, seed")
    parser.add_argument(
        "--budget", type=positive_number, required=True, metavar="MS", help="milliseconds that a frame may take"
    )
    parser.add_argument(
        "--data", type=Path, nargs="+", required=True, help="folders of photographs, searched recursively"
    )
    parser.add_argument("--eval", type=Path, nargs="+", required=True, help="test sets that decide which trial is best")
    parser.add_argument("--trials", type=positive_int, default=30, help="number of trials to add [30]")
    parser.add_argument("--steps", type=positive_int, default=2000, help="training steps per trial [2000]")
    parser.add_argument("--engine", default="openvino", help="engine that the budget applies to [openvino]")
    parser.add_argument(
        "--size", type=size, default=(640, 360), metavar="WxH", help="size of the input for timing [640x360]"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/tune"), help="folder for the study and the recipe [runs/tune]"
    )
    parser.add_argument("--device", default="cpu", help="device to train the trials on [cpu]")
    options = parser.parse_args(arguments)
    found = options.out / f"{options.recipe.stem}.yaml"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        base_recipe = replace(Recipe.read(options.recipe), start=None)  # a network to begin with has one width
        recipe = replace(base_recipe, steps=options.steps, warmup=min(base_recipe.warmup, options.steps // 10))
        raise_if_unusable(options.device)
        check(options.eval, recipe.scale)
        atomic_file.check(found)
        options.out.mkdir(parents=True, exist_ok=True)
        photos = recipe.photos(options.data, options.device)
        search = RecipeSearch(
            recipe, photos, options.eval, options.budget, options.engine, options.size, options.device
        )
        study = optuna.create_study(
            study_name=f"{options.recipe.stem} in {search.name}",
            storage=f"sqlite:///{options.out.resolve() / 'study.db'}",
            load_if_exists=True,
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=options.steps // 4),
        )
        # Where it is gone on with, the seed of its beginning would draw the same trials again.
        study.sampler = optuna.samplers.TPESampler(seed=recipe.seed + len(study.trials))
        study.optimize(search, n_trials=options.trials, callbacks=[print_trial])
        store(found, best(study, base_recipe).encode())
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"The best of {len(study.trials)} was written to {found}:\n{found.read_text()}", end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
