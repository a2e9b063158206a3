"""The search: what is over the budget is not trained, the best is written as a recipe, and a study goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

pytestmark = pytest.mark.torch


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


def tune(data: Path, budget: float, trials: int) -> int:
    from scripts.tune import main

    return main(
        [
            str(data / "tiny-x2.yaml"), "--data", str(data / "photos"), "--eval", str(data / "Set"), "--steps", "6",
            "--size", "64x48", "--budget", str(budget), "--trials", str(trials), "--out", str(data / "out"),
        ]
    )  # fmt: skip


def test_the_best_is_a_recipe_and_the_study_goes_on(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from scripts.recipe import Recipe
    from scripts.tune import DEPTHS, RATES, WIDTHS

    assert tune(data, budget=10_000, trials=2) == 0
    assert tune(data, budget=10_000, trials=1) == 0
    told = capsys.readouterr().out
    assert "The best of 3 is in" in told and told.count(" dB  ") == 3
    found = Recipe.read(data / "out/tiny-x2.yaml")
    assert found.channels in WIDTHS and DEPTHS[0] <= found.depth <= DEPTHS[1]
    assert RATES[0] <= found.learning_rate <= RATES[1]
    assert found.steps == 1000  # of the recipe, not of a trial


def test_nothing_over_the_budget_is_trained(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(data, budget=0.001, trials=2) == 2
    out, told = capsys.readouterr()
    assert out.count("too slow") == 2 and " dB" not in out
    assert "No trial was trained" in told and "--budget" in told and "Traceback" not in told
