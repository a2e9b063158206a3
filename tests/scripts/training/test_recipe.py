"""What they may say, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.tiny_training import STEPS, VALUES, recipe, written

pytestmark = pytest.mark.torch

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sede: 1", "sede"),
        ("seed: 1", "scale: Field required"),
        ("- 1\n- 2", "not a mapping of keys to values"),
        ("", "not a mapping of keys to values"),
        ("1: 2", "must be strings"),
        ("{", "expected the node content"),
    ],
)
def test_what_is_no_recipe_is_one_message(tmp_path: Path, text: str, told: str) -> None:
    from scripts.training.recipe import Recipe, RecipeError

    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=rf"wrong.yaml is not a recipe\n.*{told}"):
        Recipe.read(file)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("precision", "fp8", "'fp32', 'bf16' or 'fp16', not 'fp8'"),
        ("optimiser", "sgd", "'muon' or 'adam', not 'sgd'"),
        ("steps", "many", "steps: .*integer.*, not 'many'"),
        ("batch", 0, "batch: .*greater than or equal to 1, not 0"),
        ("scale", 0, "scale: .*, not 0"),
        ("scale", 9, "scale: .*, not 9"),
        ("learning_rate", -1e-3, "learning_rate: .*greater than 0"),
        ("learning_rate", float("nan"), "learning_rate: .*finite"),
        ("sizes", [], "sizes: .*at least 1"),
        ("sizes", [1.0, -0.5], "sizes.1: .*greater than 0"),
        ("degradation", "yes please", "degradation: .*, not 'yes please'"),
        ("degradation", {"smear": 1}, "smear"),
        ("degradation", {"blur": 0.5}, "blur: .*tuple, not 0.5"),
        ("degradation", {"jpeg": [95, 40]}, "jpeg goes from 95 to 40"),
        ("degradation", [{"film": 0.5}, {"jpeg": [95, 40]}], "jpeg goes from 95 to 40"),
        ("sharpened_targets", {"amount": "much"}, "amount: .*number"),
        ("sharpened_targets", {"sigma": 2.0}, "amount: .*required"),
        ("sharpened_targets", {"amount": 1.0, "halo": 1}, "halo"),
        ("teacher", "a-x2.onnx", "teacher and distil"),
        ("distil", 0.5, "teacher and distil"),
        ("untaught", "page-*", "untaught names pictures that the teacher leaves out"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, key: str, value: Any, told: str) -> None:
    from scripts.training.recipe import Recipe, RecipeError

    with pytest.raises(RecipeError, match=told) as caught:
        Recipe.read(written(tmp_path / "wrong.yaml", **{key: value}))
    assert len(str(caught.value).splitlines()) == 3 and "pydantic" not in str(caught.value)


def test_a_teacher_of_spoilt_pictures_is_refused(tmp_path: Path) -> None:
    from scripts.training.recipe import Recipe, RecipeError

    file = written(tmp_path / "wrong.yaml", degradation={"film": 0.1}, teacher="a-x2.onnx", distil=1.0)
    with pytest.raises(RecipeError, match="clean pictures only"):
        Recipe.read(file)


def test_a_file_that_is_missing_or_no_text(tmp_path: Path) -> None:
    from scripts.training.recipe import Recipe, RecipeError

    with pytest.raises(RecipeError, match=r"is not a recipe\n.*No such file"):
        Recipe.read(tmp_path / "missing.yaml")
    (tmp_path / "latin.yaml").write_bytes("seed: 1  # größer".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"is not a recipe\n.*utf-8"):
        Recipe.read(tmp_path / "latin.yaml")


def test_a_number_may_be_written_as_people_do(tmp_path: Path) -> None:
    """YAML 1.1 takes 1e-3, without a point, for text."""
    from scripts.training.recipe import Recipe

    (tmp_path / "one.yaml").write_text(yaml.safe_dump(VALUES | {"learning_rate": 0}) + "learning_rate: 1e-3\n")
    assert Recipe.read(tmp_path / "one.yaml").learning_rate == 0.001


@pytest.mark.parametrize("file", sorted((ROOT / "configs/train").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_recipe_says_what_its_file_says(file: Path) -> None:
    from scripts.training.recipe import Recipe

    recipe, text = Recipe.read(file), yaml.safe_load(file.read_text())
    for key in ("data", "calibration"):  # names of sets: they do not decide the outcome, what is in them does
        assert list(getattr(recipe, key)) == text.pop(key, [])
    values = recipe.values()
    assert {key: repr(values[key]) for key in text} == {key: repr(value) for key, value in text.items()}


@pytest.mark.parametrize("key", ["start", "teacher"])
def test_a_missing_network_is_told_with_the_recipe_that_makes_it(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import scripts.training.recipe
    from scripts.training.recipe import RecipeError

    monkeypatch.setattr(scripts.training.recipe, "ROOT", tmp_path)
    monkeypatch.setattr(scripts.training.recipe, "RECIPES_FOLDER", tmp_path / "configs/train")
    (tmp_path / "configs/train").mkdir(parents=True)
    (tmp_path / "configs/train/known-x2.yaml").touch()
    distil = {"distil": 1.0} if key == "teacher" else {}
    for name, told in (("known-x2", "scripts/reproduce.py known-x2 "), ("other-x2", f"Give {key} the")):
        one = recipe(**{key: f"runs/{name}.onnx"}, **distil)
        for use in (one.network if key == "start" else one.build_teacher, one.digests):
            with pytest.raises(RecipeError, match=rf"There is no .*{name}.onnx\n.*its {key}\n.*{told}"):
                use()


def test_the_learning_rate_rises_and_falls() -> None:
    one = recipe()
    rates = [one.rate(step) for step in range(STEPS)]
    assert rates[:5] == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01])
    assert rates[4:] == sorted(rates[4:], reverse=True) and 0 < rates[-1] < 0.001
