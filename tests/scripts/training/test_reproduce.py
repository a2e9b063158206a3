"""A network is trained after all that it builds on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_training import STEPS, pictures, written

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[3]
RECIPES = sorted(path.stem for path in (ROOT / "configs/train").glob("*.yaml"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with recipes of which the last builds on all the others, and photographs."""
    from scripts import reproduce
    from scripts.training import recipe

    folder = tmp_path / "configs/train"
    folder.mkdir(parents=True)
    taught: dict[str, Any] = {"teacher": "runs/large-x2.onnx", "distil": 1.0}
    written(folder / "base-x2.yaml")
    written(folder / "large-x2.yaml", start="runs/base-x2.onnx", channels=6)
    written(folder / "first-x2.yaml", start="runs/base-x2.onnx", **taught)
    written(folder / "last-x2.yaml", start="runs/first-x2.onnx", seed=4, **taught)
    written(folder / "round-x2.yaml", start="runs/round-x2.onnx")
    for module in (reproduce, recipe):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(recipe, "RECIPES_FOLDER", folder)
    pictures(tmp_path / "photographs")
    return tmp_path


def test_all_that_it_builds_on_comes_first_and_once(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from scripts.reproduce import main, training_chain

    assert [step.recipe.stem for step in training_chain("last-x2")] == ["base-x2", "large-x2", "first-x2", "last-x2"]
    arguments = ["last-x2", "--data", str(project / "photographs"), "--device", "cpu"]
    assert main([*arguments, "--plan"]) == 0
    assert not (project / "runs").exists()
    assert main(arguments) == 0
    made = {path.stem: path.read_bytes() for path in (project / "runs").glob("*.onnx")}
    assert sorted(made) == ["base-x2", "first-x2", "large-x2", "last-x2"]
    assert f"{STEPS}," in (project / "runs/last-x2/log.csv").read_text()
    # Again: what is there is kept; what is missing comes out the same.
    (project / "runs/first-x2.onnx").unlink()
    shutil.rmtree(project / "runs/first-x2")
    (project / "runs/base-x2.onnx").write_bytes(made["base-x2"])
    assert [step.recipe.stem for step in training_chain("last-x2")] == ["first-x2", "last-x2"]
    assert main(arguments) == 0
    assert (project / "runs/first-x2.onnx").read_bytes() == made["first-x2"]


@pytest.mark.parametrize(
    ("name", "told"), [("round-x2", "round-x2 -> round-x2"), ("none-x2", "there are: base-x2, first-x2")]
)
def test_what_cannot_be_reproduced_is_told(
    project: Path, name: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from scripts.reproduce import main

    assert main([name, "--data", str(project)]) == 2
    assert told in capsys.readouterr().err


def test_a_run_that_fails_ends_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from scripts.reproduce import main

    assert main(["last-x2", "--data", str(project / "nowhere")]) == 2
    assert "There is no folder" in capsys.readouterr().err
    assert not list((project / "runs").glob("*.onnx"))


@pytest.mark.parametrize("name", RECIPES)
def test_every_shipped_recipe_can_be_followed_from_nothing(name: str) -> None:
    """Each network that it needs has a recipe, is made before it, and fits: smaller than what begins as it, and of the
    scale of what it teaches."""
    from scripts.reproduce import training_chain
    from scripts.training.recipe import Recipe

    steps = training_chain(name, exists=lambda path: False)
    assert steps[-1].recipe.stem == name
    made: dict[Path, Recipe] = {}
    for step in steps:
        one = Recipe.read(step.recipe)
        if one.start:
            before = made[ROOT / one.start]
            assert before.channels <= one.channels and before.depth <= one.depth
        if one.teacher:
            assert made[ROOT / one.teacher].scale == one.scale
        made[step.file] = one
