"""The search: what is over the budget is not trained, the best is written as a recipe, and a study goes on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import yaml

if TYPE_CHECKING:
    import optuna

pytestmark = [pytest.mark.torch, pytest.mark.integration]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Threads that wait for each other at every layer of a tiny network crawl when a core is busy elsewhere."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Photographs and a test set of the same noise, upscaled."""
    from PIL import Image

    (tmp_path / "photos").mkdir()
    (tmp_path / "Set/x2").mkdir(parents=True)
    for seed in range(2):
        small = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8))
        photo = small.resize((64, 48), Image.Resampling.BICUBIC)
        photo.save(tmp_path / f"photos/{seed}.png")
        photo.save(tmp_path / f"Set/x2/{seed}_SRF_2_HR.png")
        photo.resize((32, 24), Image.Resampling.BICUBIC).save(tmp_path / f"Set/x2/{seed}_SRF_2_LR.png")
    recipe = {
        "seed": 3, "scale": 2, "channels": 4, "depth": 1, "expand": 8, "longest": 96, "batch": 2, "crop": 16,
        "steps": 1000, "learning_rate": 0.01, "warmup": 4, "average": 0.9, "colour": 0.25, "finish": 0.6,
    }  # fmt: skip
    (tmp_path / "tiny-x2.yaml").write_text(yaml.safe_dump(recipe))
    return tmp_path


def tune(data: Path, budget: float, trials: int, *more: str) -> int:
    from scripts.tune import main

    return main(
        [
            str(data / "tiny-x2.yaml"), "--data", str(data / "photos"), "--eval", str(data / "Set"), "--steps", "6",
            "--size", "64x48", "--budget", str(budget), "--trials", str(trials), "--out", str(data / "out"), *more,
        ]
    )  # fmt: skip


def studies(data: Path) -> list[optuna.Study]:
    import optuna

    storage = f"sqlite:///{data / 'out/study.db'}"
    return [optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """All networks are too slow to be trained, and that is known at once."""
    from scripts.tune import RecipeSearch

    monkeypatch.setattr(RecipeSearch, "milliseconds", lambda *_: 1000.0)


@pytest.mark.usefixtures("slow")
def test_a_study_that_goes_on_draws_other_trials(data: Path) -> None:
    for _ in range(2):
        tune(data, budget=20, trials=2)
    (study,) = studies(data)
    drawn = [tuple(trial.params.values()) for trial in study.trials]
    assert len(drawn) == len(set(drawn)) == 4


@pytest.mark.usefixtures("slow")
def test_what_cannot_be_compared_is_a_study_of_its_own(data: Path) -> None:
    text = (data / "tiny-x2.yaml").read_text()
    shutil.copytree(data / "Set", data / "Other")
    for more in ((), ("--size", "32x32"), ("--eval", str(data / "Other")), ("--steps", "7")):
        tune(data, 20, 1, *more)
    (data / "tiny-x2.yaml").write_text(text.replace("colour: 0.25", "colour: 0.5"))
    tune(data, budget=20, trials=1)
    (data / "photos/1.png").unlink()
    tune(data, budget=20, trials=1)
    assert [len(study.trials) for study in studies(data)] == [1] * 6


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--eval", "missing"], "missing is no test set for x2"),
        (["--out", "tiny-x2.yaml"], "tiny-x2.yaml"),
        (["--device", "foo"], "There is no device 'foo'"),
        (["--data", "missing"], "There is no folder missing"),
        (["--trials", "0"], "--trials: it must be a whole number of at least 1"),
        (["--budget", "0"], "--budget: it must be a number above 0"),
    ],
)
def test_wrong_usage_is_one_message_before_any_work(
    data: Path, more: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(data)
    try:
        status = tune(data, 10_000, 1, *more)
    except SystemExit as ended:  # argparse's own way
        status = int(str(ended.code))
    assert status == 2 and told in capsys.readouterr().err
    assert not (data / "out/study.db").exists()


def test_the_best_is_a_recipe_and_the_study_goes_on(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from scripts.training.recipe import Recipe
    from scripts.tune import CHANNEL_CHOICES, DEPTH_RANGE, LEARNING_RATE_RANGE

    assert tune(data, budget=10_000, trials=2) == 0
    assert tune(data, budget=10_000, trials=1) == 0
    told = capsys.readouterr().out
    assert "The best of 3 was written to" in told and told.count(" dB  ") == 3
    found = Recipe.read(data / "out/tiny-x2.yaml")
    assert found.channels in CHANNEL_CHOICES and DEPTH_RANGE[0] <= found.depth <= DEPTH_RANGE[1]
    assert LEARNING_RATE_RANGE[0] <= found.learning_rate <= LEARNING_RATE_RANGE[1]
    assert found.steps == 1000  # of the recipe, not of a trial


def test_nothing_over_the_budget_is_trained(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(data, budget=0.001, trials=2) == 2
    out, told = capsys.readouterr()
    assert out.count("too slow") == 2 and " dB" not in out
    assert "No trial was trained" in told and "--budget" in told and "Traceback" not in told
