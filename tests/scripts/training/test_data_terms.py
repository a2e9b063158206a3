"""What networks learn from decides on what terms they may be used."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.support.tiny_training import pictures, save, written

pytestmark = pytest.mark.torch


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One with recipes, of which free-x2 has nothing but free data and mixed-x2 a teacher that has not."""
    from scripts import reproduce
    from scripts.training import data_terms, recipe

    folder = tmp_path / "configs/train"
    folder.mkdir(parents=True)
    free = ["free-photographs", "pages"]
    written(folder / "free-x2.yaml", data=free, calibration=["free-photographs"])
    written(folder / "second-x2.yaml", data=free, calibration=["bsds500"], start="runs/free-x2.onnx")
    written(folder / "large-x2.yaml", data=["bsds500"])
    written(folder / "mixed-x2.yaml", data=free, start="runs/free-x2.onnx", teacher="runs/large-x2.onnx", distil=1.0)
    written(folder / "silent-x2.yaml")
    written(folder / "odd-x2.yaml", data=["holidays"])
    for module in (reproduce, recipe, data_terms):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(recipe, "RECIPES_FOLDER", folder)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("free-x2", "free-x2 with all that it builds on: free"),
        ("second-x2", "calibration of second-x2-int8: bsds500 (research use only)"),
        ("second-x2", "second-x2 with all that it builds on: for research use only"),
        ("mixed-x2", "  large-x2: bsds500 (research use only)\n"),
        ("mixed-x2", "mixed-x2 with all that it builds on: for research use only"),
        ("silent-x2", "silent-x2 with all that it builds on: terms are not stated"),
    ],
)
def test_the_plan_tells_the_data_of_the_whole_chain(
    project: Path, name: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from scripts.reproduce import main

    assert main([name, "--plan"]) == 0
    out = capsys.readouterr().out
    assert told in out
    assert "free-photographs (free), pages (free)" in out or name == "silent-x2"


def test_a_set_without_terms_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from scripts.reproduce import main

    assert main(["odd-x2", "--plan"]) == 2
    assert "no set of pictures called holidays" in capsys.readouterr().err


def test_every_shipped_recipe_names_its_data() -> None:
    from scripts.training.data_terms import data_set
    from scripts.training.recipe import RECIPES_FOLDER, Recipe

    for path in RECIPES_FOLDER.glob("*.yaml"):
        parsed = Recipe.read(path)
        assert parsed.data, path
        assert all(data_set(name).terms in ("free", "research use only") for name in parsed.data + parsed.calibration)


def test_a_folder_of_free_photographs_holds_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scripts.training import data_terms
    from scripts.training.photograph_list import Photograph, PhotographSource

    first, second = (save(tmp_path / f"free-photographs/{name}.png", seed) for seed, name in enumerate("ab"))
    digests = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (first, second)]
    source = PhotographSource("LICENSE", repository="https://example.org")
    listed = [Photograph(source, "a", digest, "CC0-1.0", "Ann", (64, 48), 1.0) for digest in digests]
    monkeypatch.setattr(data_terms, "read", lambda: listed)
    free, pages, bsds500 = (tmp_path / name for name in ("free-photographs", "pages", "bsds500"))
    for seed, folder in enumerate((pages, bsds500, tmp_path / "own")):
        save(folder / "c.png", seed + 5)
    assert data_terms.folder_terms([free]) == data_terms.folder_terms([free, pages]) == "free"
    assert data_terms.folder_terms([free, bsds500]) == "research use only"
    assert data_terms.folder_terms([free, tmp_path / "own"]) == ""
    save(free / "smuggled.png", 9)
    assert data_terms.folder_terms([free]) == ""


def test_a_file_says_what_its_training_came_to(project: Path) -> None:
    from engines.catalog.terms import stated_terms
    from scripts.reproduce import main

    pictures(project / "pages")
    pictures(project / "bsds500")
    pictures(project / "own")
    runs = project / "runs"

    def made(name: str, folder: str) -> str:
        assert main([name, "--data", str(project / folder), "--device", "cpu"]) == 0
        return stated_terms(runs / f"{name}.onnx")

    assert made("free-x2", "pages") == "free"
    assert made("large-x2", "bsds500") == "research use only"
    assert made("mixed-x2", "pages") == "research use only"  # because of its teacher
    assert made("silent-x2", "own") == ""


def test_calibration_counts(project: Path) -> None:
    from onnx import ModelProto, helper

    from scripts.quantize import with_terms

    for before, calibration, after in (
        ("free", "free", "free"),
        ("free", "research use only", "research use only"),
        ("free", "", None),
        (None, "free", None),
    ):
        model = ModelProto()
        helper.set_model_props(model, {"scale": "2"} | ({"terms": before} if before else {}))
        told = {entry.key: entry.value for entry in with_terms(model, calibration).metadata_props}
        assert told.pop("scale") == "2"
        assert told.get("terms") == after
