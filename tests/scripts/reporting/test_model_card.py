"""The card of a model: what the app's table reads is measured, and the log of the run is told as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from engines.catalog import shipped as catalog
from engines.catalog.shipped import ModelCard

pytestmark = pytest.mark.torch

SHIPPED = catalog.MODELS_FOLDER


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Set5 and Set14, of one small picture each."""
    import cv2

    from app.sources.demo.camera import DemoCamera

    for index, name in enumerate(("Set5", "Set14")):
        folder = tmp_path / "sets" / name / "x2"
        folder.mkdir(parents=True)
        high = DemoCamera(size=(96, 64), fps=10).picture(index * 9)
        cv2.imwrite(str(folder / "img_001_SRF_2_HR.png"), high)
        low = cv2.resize(high, (48, 32), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / "img_001_SRF_2_LR.png"), low)
    return tmp_path / "sets"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a run of training leaves behind."""
    folder = tmp_path / "run"
    folder.mkdir()
    lines = ["step,seconds,loss,Set5,Set14", "2000,61,0.02,36.123,32.1", "6000,180,0.01,37.456,32.8"]
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.integration
@pytest.mark.parametrize("name", ["fast-x2", "fast-webcam-x2"])
def test_a_card(name: str, tmp_path: Path, sets: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scripts.card import main

    models = tmp_path / "models"
    models.mkdir()
    for file in catalog.MODELS_FOLDER.glob("fast-*x2*.onnx"):
        shutil.copy(file, models)
    monkeypatch.setattr(catalog, "MODELS_FOLDER", models)
    assert (
        main([name, "--run", str(run), "--sets", str(sets), "--hardware", "an abacus", "--data", "bsds500", "pages"])
        == 0
    )
    card, text = ModelCard.of(models / f"{name}.md"), (models / f"{name}.md").read_text()
    assert card.parameters == 11500 and card.use
    assert list(card.psnr) == ["fp32", "fp16", "int8"]
    assert all(list(by_set) == ["Set5", "Set14"] for by_set in card.psnr.values())
    assert all(np.isfinite(db) and 15 < db < 60 for by_set in card.psnr.values() for db in by_set.values())
    assert f"| {name}, int8 | {card.psnr['int8']['Set5']:.2f} / " in text
    assert ("it learnt from quality-first-x2" in text) == ("webcam" not in name)
    assert "--data bsds500 pages --eval" in text
    assert "3 minutes on an abacus" in text and "36.123 / 32.1 after 2,000 steps" in text
    webcam = "webcam" in name
    assert ("degraded Set14" in text) == ("goal" not in text) == ("grey levels from a smooth" in text) == webcam
    assert ("before coring" in text) == webcam
    assert max(map(len, text.splitlines())) < 130
    head, made = text.split("## How it was made")
    (models / f"{name}.md").write_text(head.replace(".", ",") + "## How it was made" + made.replace("abacus", "oracle"))
    assert main([name, "--sets", str(sets)]) == 0
    assert (models / f"{name}.md").read_text() == text.replace("abacus", "oracle")


def test_a_goal_that_is_missed_is_told() -> None:
    from scripts.reporting.model_card import goal

    assert goal("fast-x2", {"Set5": 37.2, "Set14": 32.9}).strip().endswith("reached.")
    missed = goal("fast-x2", {"Set5": 37.15, "Set14": 32.9})
    assert "it falls short by 0.05 dB on Set5." in missed and "dB on Set14" not in missed


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to ship from."""
    monkeypatch.setattr(catalog, "MODELS_FOLDER", tmp_path / "models")
    catalog.MODELS_FOLDER.mkdir()
    return catalog.MODELS_FOLDER


def test_a_model_of_another_name(models: Path, sets: Path, run: Path) -> None:
    from scripts.card import main

    shutil.copy(SHIPPED / "fast-x2.onnx", models / "tiny-x2.onnx")
    assert main(["tiny-x2", "--run", str(run), "--sets", str(sets), "--hardware", "an abacus"]) == 0
    assert ModelCard.of(models / "tiny-x2.md").use == "files"


def test_a_set_that_goals_are_stated_for_may_be_missing(
    models: Path, sets: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from scripts.card import main

    for name in ("fast-x2", "fast-webcam-x2"):
        shutil.copy(SHIPPED / f"{name}.onnx", models)
    shutil.rmtree(sets / "Set14")
    options = ["--run", str(run), "--sets", str(sets), "--hardware", "an abacus"]
    assert main(["fast-x2", *options]) == 0
    assert "goal" not in (models / "fast-x2.md").read_text()
    assert main(["fast-webcam-x2", *options]) == 2
    assert "There is no Set14 for x2 in" in capsys.readouterr().err


def test_a_model_that_tells_no_recipe_is_refused(
    models: Path, sets: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnx

    from scripts.card import main

    model = onnx.load(SHIPPED / "fast-x2.onnx")
    del model.metadata_props[:]
    onnx.save(model, models / "fast-x2.onnx")
    assert main(["fast-x2", "--run", str(run), "--sets", str(sets), "--hardware", "an abacus"]) == 2
    assert "does not state its recipe" in capsys.readouterr().err


def test_what_is_missing_is_one_message(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from scripts.card import main

    for name, folder, told in (
        ("slow-x9", run, "no model slow-x9"),
        ("fast-x2", tmp_path, "not a run of scripts/train"),
    ):
        assert main([name, "--run", str(folder), "--sets", str(tmp_path), "--hardware", "an abacus"]) == 2
        assert told in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["fast-x2", "--run", str(run), "--sets", str(tmp_path)])
    assert "--run and --hardware go together" in capsys.readouterr().err


def test_a_card_that_is_not_there_has_nothing_to_keep(
    models: Path, sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from scripts.card import main

    shutil.copy(SHIPPED / "fast-x2.onnx", models)
    assert main(["fast-x2", "--sets", str(sets)]) == 2
    assert "does not say how the model was made" in capsys.readouterr().err
