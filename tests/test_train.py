"""Training: what a recipe may say, which photographs are used, that a run is repeatable and can be resumed."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

if TYPE_CHECKING:
    from scripts.photos import Photos
    from scripts.recipe import Recipe
    from scripts.train import Training

pytestmark = pytest.mark.torch

STEPS = 20


VALUES = {
    "seed": 3, "scale": 2, "channels": 4, "depth": 1, "expand": 8, "longest": 96, "batch": 2, "crop": 16,
    "steps": STEPS, "learning_rate": 0.01, "warmup": 4, "average": 0.9, "colour": 0.25, "finish": 0.6,
}  # fmt: skip
"""A tiny one: all its parts are in play within 20 steps."""


def recipe(**changes: Any) -> Recipe:
    from scripts.recipe import Recipe

    return Recipe(**(VALUES | changes))


def save(path: Path, seed: int, size: tuple[int, int] = (64, 48)) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Threads that wait for each other at every layer of a tiny network crawl when a core is busy elsewhere."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three different pictures."""
    for seed in range(3):
        save(tmp_path / "photos" / f"{seed}.png", seed)
    return tmp_path / "photos"


def photos_of(*folders: Path, longest: int = 96, smallest: int = 32, **webcam: Any) -> Photos:
    from scripts.photos import Photos

    return Photos(folders, scale=2, longest=longest, smallest=smallest, **webcam)


def training(folder: Path, **changes: Any) -> Training:
    from scripts.train import Training

    made = recipe(**changes)
    return Training(made, photos_of(folder, teacher=made.master()), device="cpu", compiled=False)


def advance(run: Training, steps: int = STEPS) -> list[float]:
    """The losses of up to `steps` more steps."""
    return [float(run.advance(*pictures)) for pictures, _ in zip(run.batches(), range(steps), strict=False)]


def state(run: Training) -> list[float]:
    """All weights, current and averaged."""
    both = (*run.network.parameters(), *run.average.parameters())
    return [float(value) for p in both for value in p.detach().flatten()]


@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_two_runs_are_equal_and_learn_something(folder: Path, optimiser: str) -> None:
    first, second = training(folder, optimiser=optimiser), training(folder, optimiser=optimiser)
    losses = advance(first)
    assert losses == advance(second)
    assert state(first) == state(second)
    finish = int(0.6 * STEPS)  # where the loss changes its kind
    assert np.mean(losses[finish - 4 : finish]) < np.mean(losses[:4])
    assert advance(training(folder, seed=4), 1) != losses[:1]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_hundred_steps_of_a_shipped_recipe_twice(folder: Path, precision: str) -> None:
    from scripts.recipe import ROOT, Recipe
    from scripts.train import Training

    shipped = Recipe.read(ROOT / "configs/train/fast-webcam-x2.yaml")
    small = replace(
        shipped, start="engines/models/fast-x2.onnx", precision=precision, batch=2, crop=16, versions=2, longest=96
    )
    losses = []
    for workers in (0, 1):
        photos = photos_of(folder, degradation=small.webcam(), versions=small.versions, seed=small.seed)
        losses.append(advance(Training(small, photos, device="cpu", compiled=False, workers=workers), 100))
    assert losses[0] == losses[1] and len(losses[0]) == 100


def test_a_teacher_is_learnt_from(folder: Path) -> None:
    taught: dict[str, Any] = {"teacher": "engines/models/fast-x2.onnx", "distil": 5.0, "steps": 100}
    alone, first, second = training(folder, steps=100), training(folder, **taught), training(folder, **taught)
    low, _, wanted = (pictures.permute(0, 3, 1, 2).float() / 255 for pictures in next(iter(first.batches())))

    def apart(run: Training) -> float:
        return float((run.network(low) - wanted).detach().abs().mean())

    assert advance(first, 100) == advance(second, 100)
    advance(alone, 100)
    assert apart(first) < apart(alone)
    assert not training(folder, teacher="engines/models/fast-x2.onnx").data.photos.taught  # a weight of nothing


def test_a_teacher_looks_from_all_sides(folder: Path) -> None:
    """A picture that is turned or mirrored is taught turned or mirrored, which its network does not do by itself."""
    teacher = recipe(teacher="engines/models/fast-x2.onnx", distil=1.0).master()
    assert teacher is not None
    low = photos_of(folder).lows[0][0]
    made = teacher(low)
    assert made.shape == (2 * low.shape[0], 2 * low.shape[1], 3) and made.dtype == np.uint8
    for seen, wanted in ((np.rot90(low), np.rot90(made)), (low[:, ::-1], made[:, ::-1])):
        assert np.abs(teacher(seen).astype(int) - wanted).max() <= 1  # added up in another order
    assert np.abs(teacher._made(low) - made).max() > 2


def test_a_teacher_of_another_scale_is_refused(folder: Path) -> None:
    from scripts.export import ExportError

    with pytest.raises(ExportError, match="enlarges 4 times, not 2"):
        training(folder, teacher="engines/models/fast-x4.onnx", distil=0.5)


def test_an_older_checkpoint_is_resumed(folder: Path, tmp_path: Path) -> None:
    """One whose recipe had not all of today's lines."""
    import torch

    run, path = training(folder), tmp_path / "checkpoint.pt"
    advance(run, 3)
    run.save(path)
    state = torch.load(path, weights_only=True)
    del state["recipe"]["teacher"], state["recipe"]["distil"]
    torch.save(state, path)
    again = training(folder)
    again.resume(path)
    assert again.step == 3


@pytest.mark.parametrize(("optimiser", "rates"), [("adam", [0.005]), ("muon", [0.005, 0.0025])])
def test_every_weight_has_one_optimiser_and_learns(folder: Path, optimiser: str, rates: list[float]) -> None:
    run = training(folder, optimiser=optimiser)
    before = [p.detach().clone() for p in run.network.parameters()]
    held = [id(p) for o in run.optimisers for group in o.param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in run.network.parameters())
    advance(run, 2)
    assert all((p != old).any() for p, old in zip(run.network.parameters(), before, strict=True))
    assert [o.param_groups[0]["lr"] for o in run.optimisers] == pytest.approx(rates)


@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_a_resumed_run_ends_like_an_uninterrupted_one(folder: Path, tmp_path: Path, optimiser: str) -> None:
    whole, early, late = (training(folder, optimiser=optimiser) for _ in range(3))
    advance(whole)
    advance(early, 7)
    early.save(tmp_path / "checkpoint.pt")
    late.resume(tmp_path / "checkpoint.pt")
    assert late.step == 7
    advance(late)
    assert state(late) == state(whole)


def test_a_checkpoint_of_another_recipe_is_refused(folder: Path, tmp_path: Path) -> None:
    training(folder).save(tmp_path / "checkpoint.pt")
    with pytest.raises(SystemExit, match="another recipe"):
        training(folder, seed=4).resume(tmp_path / "checkpoint.pt")


def test_the_command_line_writes_a_checkpoint_and_a_log(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from scripts import train

    out, file = tmp_path / "out", tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(recipe().values()))
    command = ["train.py", str(file), "--data", str(folder), "--out", str(out), "--every", "8"]
    monkeypatch.setattr(sys, "argv", command)
    train.main()
    assert [line.split(",")[0] for line in (out / "log.csv").read_text().splitlines()] == ["step", "8", "16", "20"]
    assert "<svg" in (out / "log.svg").read_text()
    assert torch.load(out / "checkpoint.pt", weights_only=True)["step"] == STEPS
    train.main()  # nothing is left to do, and nothing is done twice
    assert len((out / "log.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sede: 1", "sede"),
        ("seed: 1", "missing"),
        ("- 1\n- 2", "is not a recipe"),
        ("{", "is not a recipe"),
        (yaml.safe_dump(VALUES | {"precision": "fp8"}), "fp8"),
        (yaml.safe_dump(VALUES | {"optimiser": "sgd"}), "sgd"),
        (yaml.safe_dump(VALUES | {"degradation": {"smear": 1}}), "smear"),
        (yaml.safe_dump(VALUES | {"degradation": {"film": 0.1}, "teacher": "a-x2.onnx"}), "clean pictures alone"),
    ],
)
def test_a_wrong_recipe_is_one_message(tmp_path: Path, text: str, told: str) -> None:
    from scripts.recipe import Recipe

    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(SystemExit, match=told):
        Recipe.read(file)
    with pytest.raises(SystemExit, match="is not a recipe"):
        Recipe.read(tmp_path / "missing.yaml")


def test_the_learning_rate_rises_and_falls() -> None:
    one = recipe()
    rates = [one.rate(step) for step in range(STEPS)]
    assert rates[:5] == pytest.approx([0.0025, 0.005, 0.0075, 0.01, 0.01])
    assert rates[4:] == sorted(rates[4:], reverse=True) and 0 < rates[-1] < 0.001


def test_the_loss_is_luma_and_a_share_of_colour() -> None:
    import torch

    from scripts.train import loss_of

    truth = torch.zeros(1, 3, 2, 2)
    out = truth.clone()
    out[:, 1] = 0.5  # green: 128.553 / 255 of luma, a third of all values
    luma = 0.5 * 128.553 / 255
    assert float(loss_of(recipe(), 0, out, truth)) == pytest.approx(luma + 0.25 * 0.5 / 3)
    assert float(loss_of(recipe(), STEPS - 1, out, truth)) == pytest.approx(luma**2 + 0.25 * 0.25 / 3)


def test_photographs_are_found_once_and_only_if_large_enough(folder: Path) -> None:
    from PIL import Image

    with Image.open(folder / "0.png") as same:
        save(folder / "deep" / "9.jpg", 9)
        same.resize((96, 72), Image.Resampling.BICUBIC).save(folder / "deep" / "larger copy.png")
        same.resize((20, 15)).save(folder / "icon.png")
    (folder / "notes.txt").write_text("no picture")
    assert len(photos_of(folder, folder / "deep").highs) == 4


def test_pairs_are_what_they_should_be(tmp_path: Path) -> None:
    from PIL import Image

    save(tmp_path / "one.png", 1, (131, 77))
    photos = photos_of(tmp_path, longest=96)
    ((low,),), (high,) = photos.lows, photos.highs
    assert high.shape == (56, 96, 3) and low.shape == (28, 48, 3)
    # The definition of the published test sets, and blue comes first.
    with Image.open(tmp_path / "one.png") as photo:
        photo.thumbnail((96, 96), Image.Resampling.BICUBIC)
        wanted = photo.crop((0, 0, 96, 56)).resize((48, 28), Image.Resampling.BICUBIC)
    assert np.array_equal(low, np.asarray(wanted)[..., ::-1])


def test_photographs_are_used_at_several_sizes(tmp_path: Path) -> None:
    save(tmp_path / "one.png", 1, (80, 60))
    photos = photos_of(tmp_path, smallest=40, sizes=(1.0, 0.75, 0.5))
    assert [high.shape[:2] for high in photos.highs] == [(60, 80), (44, 60)]  # at a half it is too small
    assert [low.shape[:2] for (low,) in photos.lows] == [(30, 40), (22, 30)]


def test_a_batch_depends_on_seed_and_step_alone_and_its_halves_match(folder: Path) -> None:
    photos = photos_of(folder)
    low, high = photos.batch(1, 5, count=6, size=16)
    assert low.shape == (6, 16, 16, 3) and high.shape == (6, 32, 32, 3)
    for again, first in zip(photos.batch(1, 5, count=6, size=16), (low, high), strict=True):
        assert np.array_equal(again, first)
    assert not np.array_equal(photos.batch(1, 6, count=6, size=16)[0], low)
    # Turned and flipped alike: the average of each 2x2 block is close to the low-resolution pixel.
    blocks = high.reshape(6, 16, 2, 16, 2, 3).mean((2, 4))
    assert np.abs(blocks - low).mean() < 3


def test_a_folder_without_photographs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no photographs of at least 32 pixels"):
        photos_of(tmp_path)
