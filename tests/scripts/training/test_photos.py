"""Which are used, what becomes of them, which are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.tiny_training import batch, photos_of, pictures, save

pytestmark = pytest.mark.torch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pictures(tmp_path / "photos")


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
    low, high = batch(photos, 1, 5, count=6, size=16)
    assert low.shape == (6, 16, 16, 3) and high.shape == (6, 32, 32, 3)
    for again, first in zip(batch(photos, 1, 5, count=6, size=16), (low, high), strict=True):
        assert np.array_equal(again, first)
    assert not np.array_equal(batch(photos, 1, 6, count=6, size=16)[0], low)
    # Turned and flipped alike: the average of each 2x2 block is close to the low-resolution pixel.
    blocks = high.reshape(6, 16, 2, 16, 2, 3).mean((2, 4))
    assert np.abs(blocks - low).mean() < 3


def test_of_several_candidates_the_one_with_the_most_to_learn_is_kept(folder: Path) -> None:
    from scripts.training.photos import detail

    photos = photos_of(folder)
    drawn = list(zip(*batch(photos, 1, 5, count=12, size=16), strict=True))
    kept = list(zip(*batch(photos, 1, 5, count=4, size=16, candidates=3), strict=True))
    for number, crops in enumerate(kept):
        group = drawn[3 * number : 3 * number + 3]
        most = max(range(3), key=lambda one: detail(*group[one]))
        assert all(np.array_equal(*pair) for pair in zip(crops, group[most], strict=True))
    assert len({detail(*crops) for crops in drawn}) > 6


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_device_that_has_all_pictures_cuts_out_the_same(tmp_path: Path, device: str) -> None:
    import torch

    from scripts.training.gpu_crops import GpuCropper

    folder = pictures(tmp_path)
    save(folder / "tall.png", 8, (60, 90))
    photos = photos_of(folder)
    photos.lows = [[*versions, 255 - versions[0]] for versions in photos.lows]
    photos.teacher_targets = [255 - high for high in photos.highs]
    places = photos.places(1, 5, count=64, size=16)
    assert all(len(set(column)) > 1 for column in places.T)  # every picture, version, turn
    cut = GpuCropper(photos, device)(torch.from_numpy(places), 16)
    for one, two in zip(cut, photos.cut(places, 16), strict=True):
        assert np.array_equal(one.cpu().numpy(), two)


def test_detail_is_what_bicubic_interpolation_gets_wrong() -> None:
    from scripts.training.photos import detail

    flat, noise = np.full((8, 8, 3), 90, np.uint8), np.zeros((16, 16, 3), np.uint8)
    noise[::2] = 180  # stripes, of which the low resolution shows the mean alone
    assert detail(flat, np.full((16, 16, 3), 90, np.uint8)) == 0
    assert detail(flat, noise) == 90


def test_a_folder_without_photographs(tmp_path: Path) -> None:
    from scripts.training.photos import PhotosError

    with pytest.raises(PhotosError, match="no photographs of at least 32 pixels"):
        photos_of(tmp_path)


def test_a_folder_that_is_not_there_is_told_beside_one_that_is(folder: Path) -> None:
    from scripts.training.photos import PhotosError

    for wrong in (folder / "missing", folder / "0.png"):
        with pytest.raises(PhotosError, match=f"There is no folder {wrong}"):
            photos_of(folder, wrong)


def test_grey_of_16_bits_is_what_it_is_in_8(tmp_path: Path) -> None:
    from PIL import Image

    grey = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
    Image.fromarray(grey).save(tmp_path / "shallow.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as deep:
        assert deep.mode.startswith("I")
    photos = photos_of(tmp_path)
    assert len(photos.highs) == 1  # the same picture twice
    assert np.array_equal(photos.highs[0], np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize("kind", ["text", "cut", "bomb", "header"])
def test_a_file_that_is_no_picture_is_named(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    from scripts.training.photos import PhotosError

    whole, broken = (folder / "1.png").read_bytes(), folder / "bad.png"
    if kind == "text":
        broken.write_text("no picture at all")
    elif kind == "cut":
        broken.write_bytes(whole[: len(whole) // 2])
    elif kind == "header":
        broken.write_bytes(whole[:20])
    else:
        save(broken, 5, (640, 480))
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64 * 48)
    with pytest.raises(PhotosError, match=rf"{broken} cannot be read as a picture\n.*\n  Take it out"):
        photos_of(folder)


def test_a_batch_does_not_depend_on_how_folders_are_spelt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = folder.parent / "other"
    save(other / "9.png", 9)
    monkeypatch.chdir(folder)
    wanted = photos_of(other, folder)
    for folders in ((Path("../photos"), other), (other, Path()), (Path("../photos"), Path("../other"))):
        photos = photos_of(*folders)
        assert photos.digest == wanted.digest
        for one, two in zip(photos.highs, wanted.highs, strict=True):
            assert np.array_equal(one, two)


def test_the_digest_tells_other_photographs(folder: Path) -> None:
    before = photos_of(folder).digest
    assert photos_of(folder).digest == before
    (folder / "note.txt").write_text("no picture")
    save(folder / "icon.png", 7, (20, 15))
    assert photos_of(folder).digest == before  # neither is used
    save(folder / "3.png", 7)
    assert photos_of(folder).digest != before


def test_degradations_take_turns_and_only_the_target_is_sharpened(folder: Path) -> None:
    from scripts.training.degradation import Degradation
    from scripts.training.target_sharpening import TargetSharpening

    plain = photos_of(folder)
    turns = [Degradation(mild=1), Degradation(mild=0, film=0, jpeg=(10, 10))]
    sharpening = TargetSharpening(amount=2, threshold=0)
    photos = photos_of(folder, degradations=turns, versions=3, seed=7, sharpening=sharpening)
    for index, (truth, target, lows) in enumerate(zip(plain.highs, photos.highs, photos.lows, strict=True)):
        for version, low in enumerate(lows):
            assert (low == turns[version % 2].low(truth, [7, index, version], plain.scale)).all()
        assert (target == sharpening(truth)).all()
    assert any((target != truth).any() for target, truth in zip(photos.highs, plain.highs, strict=True))
