"""What ships in engines/models: names, cards, sizes, and how a file looks to whoever opens it."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import onnx
import pytest

from app import inventory
from engines.catalog import shipped as catalog
from engines.catalog.shipped import ModelCard, ShippedModel
from engines.errors import ModelError

ROOT = Path(__file__).parents[3]
MODELS = catalog.shipped()
FAMILIES = catalog.families()
EVERY_FAMILY = pytest.mark.parametrize(("models", "card"), FAMILIES, ids=lambda one: one and name_of(one))
LIMIT = 8_000_000
LOSSES = {"fp16": 0.02, "int8": 0.10}
"""dB that a precision may lose on Set5."""


def name_of(one: list[ShippedModel] | ModelCard) -> str:
    return "card" if isinstance(one, ModelCard) else one[0].names[1]


def facts(model: ShippedModel) -> dict[str, str]:
    """A file's metadata."""
    return {entry.key: entry.value for entry in onnx.load(model.path).metadata_props}


def test_names_end_in_scale_and_precision_and_all_together_are_small() -> None:
    files = sorted(catalog.MODELS_FOLDER.iterdir())
    assert {path for path in files if path.suffix == ".onnx"} == {model.path for model in MODELS}
    assert {path.suffix for path in files} == {".onnx", ".md"}
    assert {path.stem for path in files if path.suffix == ".md"} == {name_of(models) for models, _ in FAMILIES}
    assert sum(path.stat().st_size for path in files) < LIMIT


@EVERY_FAMILY
def test_every_model_has_a_card_that_agrees_with_its_files(models: list[ShippedModel], card: ModelCard) -> None:
    assert {model.precision for model in models} == {"fp32", "fp16", "int8"}
    assert card.use and len(card.use) <= 50
    assert card.terms == catalog.network_terms(models)
    for model in models:
        told = facts(model)
        assert (int(told["parameters"]), int(told["scale"])) == (card.parameters, model.scale)
    assert set(card.psnr) == {model.precision for model in models}
    for precision, loss in LOSSES.items():
        assert card.psnr[precision]["Set5"] >= card.psnr["fp32"]["Set5"] - loss - 1e-9


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.path.stem)
def test_a_file_reads_well(model: ShippedModel) -> None:
    """In Netron, say: every node is named after what it gives, and in words, not by an exporter's numbers."""
    graph = onnx.load(model.path).graph
    for node in graph.node:
        assert [node.name] == list(node.output)
        assert node.name[0].isalpha() and not node.name.startswith(("onnx::", "node_", "val_", node.op_type))
    assert len({node.name for node in graph.node}) == len(graph.node)
    assert all(constant.name[0].isalpha() for constant in graph.initializer)
    assert graph.doc_string or onnx.load(model.path).doc_string


@pytest.mark.torch
@EVERY_FAMILY
def test_a_file_tells_the_recipe_it_was_trained_by(models: list[ShippedModel], card: ModelCard) -> None:
    from scripts.training.recipe import Recipe

    recipe = Recipe.read(Path(__file__).parents[3] / f"configs/train/{name_of(models)}.yaml")
    wanted = recipe.values() | {"step": recipe.steps}  # it is the one of the last step
    for model in models:
        told = json.loads(facts(model)["recipe"])
        assert told == {key: wanted[key] for key in told} and told.keys() >= {"seed", "scale", "step"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models that are empty files."""
    monkeypatch.setattr(catalog, "MODELS_FOLDER", tmp_path)
    for stem in ("fast-x2", "fast-x2-int8", "fast-x3", "fast-webcam-x2-int8", "odd"):
        (tmp_path / f"{stem}.onnx").write_bytes(bytes(2048))
    return tmp_path


def test_a_table_is_made_of_what_there_is(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "fast-x2.md").write_text("---\nuse: films\npsnr: {fp32: {Set5: 37.1}}\n---\n# fast\n")
    (folder / "fast-x3.md").write_text("# a card for people alone\n---\n")
    (folder / "fast-webcam-x2.md").write_text("---\nparam: 3\n---\n")
    lines = list(inventory.models())[:4]
    terms = ["research", "use", "only"]  # of files that do not say
    assert [line.split() for line in lines[1:]] == [
        ["fast-webcam", "x2", "int8", "2", *terms],
        ["fast", "x2", "fp32", "int8", "4", "37.10", *terms, "films"],
        ["fast", "x3", "fp32", "2", *terms],
    ]
    assert lines[2].index("37.10") + 1 == lines[0].index("Set5")  # numbers end where their column does
    assert "fast-webcam-x2.md is not a card" in caplog.text and "param" in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "---\n[1, 2\n---\n", "---\n- a\n---\n", "\xff", "---\nparameters: many\n---\n", "---\nuse: 3\n---\n",
        "---\nterms: 3\n---\n", "---\npsnr: {fp32: 37}\n---\n", "---\npsnr: {fp32: {Set5: high}}\n---\n",
    ],
)  # fmt: skip
def test_a_card_that_is_none_costs_blanks(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "card.md").write_bytes(text.encode("latin-1"))
    with caplog.at_level(logging.WARNING):
        assert ModelCard.of(tmp_path / "card.md") == ModelCard()
    assert "is not a card" in caplog.text


def test_a_scale_picks_the_file(folder: Path) -> None:
    assert catalog.find("fast").name == "fast-x2.onnx"
    assert catalog.find("fast", scale=3).name == "fast-x3.onnx"
    assert catalog.find("fast", ["int8"], 2).name == "fast-x2-int8.onnx"
    for name, scale, there in (("fast", 4, "x2, x3"), ("fast-x3", 2, "x3"), ("fast-webcam", 3, "x2")):
        with pytest.raises(ModelError, match=f"{name} does not enlarge {scale} times") as told:
            catalog.find(name, scale=scale)
        assert told.value.facts == f"it exists as {there}"


def test_what_a_name_tells() -> None:
    told = {"fast-x2": 2, "fast-webcam-x4-int8": 4, "fast": None, "/some-x3/own.onnx": None, "some/own-x3.onnx": 3}
    assert {name: catalog.scale_in(name) for name in told} == told


def test_the_usual_model(folder: Path) -> None:
    assert catalog.usual(camera=True) == catalog.usual(camera=True, scale=2) == "fast-webcam"
    assert catalog.usual(camera=False) == "fast"
    assert catalog.usual(camera=True, scale=3) == "fast"  # there is no other of that scale
    (folder / "fast-webcam-x2-int8.onnx").unlink()
    assert catalog.usual(camera=True) == "fast"


def put(path: Path, **metadata: str) -> None:
    """Write a file that is a model as far as its metadata go."""
    model = onnx.ModelProto()
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())


def test_the_usual_model_is_a_free_one_where_there_is_one(folder: Path) -> None:
    put(folder / "balanced-webcam-x2.onnx", terms="free")
    put(folder / "quality-x2.onnx", terms="free")
    put(folder / "quality-x2-int8.onnx", terms="research use only")  # calibrated on what is not
    assert catalog.usual(camera=True) == "balanced-webcam"
    assert catalog.usual(camera=False) == "fast"
    put(folder / "fast-webcam-x2-int8.onnx", terms="free")
    assert catalog.usual(camera=True) == "fast-webcam"  # the default among equals
    put(folder / "large-x2.onnx", terms="free", about="large" * 9)
    put(folder / "small-x2.onnx", terms="free")
    assert catalog.usual(camera=False) == "small"  # the smallest


def test_terms_are_those_of_all_files_of_a_network(folder: Path, tmp_path: Path) -> None:
    put(folder / "quality-x2.onnx", terms="free")
    assert catalog.terms_of(folder / "quality-x2.onnx") == "free"
    put(folder / "quality-x2-int8.onnx", terms="research use only")
    assert catalog.terms_of(folder / "quality-x2.onnx") == "research use only"
    assert catalog.terms_of(folder / "fast-x3.onnx") == "research use only"  # it says nothing, and is shipped
    own = tmp_path / "somewhere"
    own.mkdir()
    put(own / "own.onnx")
    assert catalog.terms_of(own / "own.onnx") == ""
    put(own / "own.onnx", terms="ask Ann")
    assert catalog.terms_of(own / "own.onnx") == "ask Ann"


def rows(text: str) -> dict[tuple[str, str], list[str]]:
    """The cells of a page's tables, by what stands first in each row: name and precision."""
    found = {}
    for line in text.splitlines():
        cells = [cell.strip(" *") for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) > 2:
            found[cells[0], cells[1]] = cells[2:]
    return found


@EVERY_FAMILY
def test_cards_and_the_page_of_quality_tell_the_same(models: list[ShippedModel], card: ModelCard) -> None:
    page = (ROOT / "docs/quality.md").read_text(encoding="utf-8")
    every, webcams = (rows(part) for part in page.split("\n## Webcams\n"))
    for precision in ("fp32", "int8"):
        _, first, _, second, *_ = every[name_of(models), precision]
        told = card.psnr[precision]["Set5"], card.psnr[precision]["Set14"]
        assert (float(first), float(second)) == pytest.approx(told, abs=0.0101)  # processors round differently
    text = (catalog.MODELS_FOLDER / f"{name_of(models)}.md").read_text(encoding="utf-8")
    noisy = text.partition("degradation.py, soft,")[0]  # the page has the soft set in words alone
    for other, precision, psnr in re.findall(r"^\| (\S+), (\S+) \| ([\d.]+) / [\d.]+ \|$", noisy, re.MULTILINE):
        assert float(webcams[other, precision][0]) == pytest.approx(float(psnr), abs=0.0101)
