"""Of pictures whose sharpness is known, and the command on a film."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from scripts.evaluation.sharpness import FIRST_FRAME, FRAME_COUNT, SharpnessError, SharpnessFilm, gradient
from scripts.sharpness import main
from tests.support.flicker_films import SIZE, film

pytestmark = pytest.mark.integration


def frames(count: int) -> list[np.ndarray]:
    """Return pictures of soft discs, each with its own noise."""
    random, canvas = np.random.default_rng(5), np.full((SIZE[1], SIZE[0], 3), 70, np.uint8)
    for x, grey in ((24, 200), (48, 130), (72, 20)):
        cv2.circle(canvas, (x, 32), 14, (grey,) * 3, -1)
    soft = cv2.GaussianBlur(canvas, (0, 0), 1.5).astype(float)
    return [np.clip(soft + random.normal(0, 2, soft.shape), 0, 255).astype(np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("sharpness") / "discs.mkv", frames(FIRST_FRAME + FRAME_COUNT))


def test_bicubic_is_the_measure(clip: Path) -> None:
    measured = (footage := SharpnessFilm(clip, 2)).measure(footage.bicubic)
    assert len(footage.frames) == FRAME_COUNT and footage.size == SIZE
    assert (measured.edge, measured.overshoot, measured.tight_overshoot, measured.change) == (1, 0, 0, 0)
    assert measured.flicker == pytest.approx(1)


def test_an_unsharp_mask_has_the_edges_it_should_have_and_pays_for_them(clip: Path) -> None:
    footage = SharpnessFilm(clip, 2)
    masked = footage.measure(footage.unsharp(1.5))
    assert masked.edge == pytest.approx(1.5, abs=0.01)
    assert masked.tight_overshoot > masked.overshoot > 0.005 and masked.flicker > 1.2 and masked.change > 0.5


def test_twice_the_noise_is_twice_the_flicker(clip: Path) -> None:
    footage = SharpnessFilm(clip, 3)
    mean = np.mean(footage.bicubic, 0)
    assert footage.measure([mean + 2 * (p - mean) for p in footage.bicubic]).flicker == pytest.approx(2, rel=1e-3)


def test_a_gradient_is_in_grey_levels_a_pixel() -> None:
    ramp = np.tile(np.arange(0, 60, 3, dtype=np.float32), (20, 1))
    assert (gradient(ramp)[1:-1, 1:-1] == 3).all() and (gradient(ramp.T)[1:-1, 1:-1] == 3).all()


def test_a_film_that_is_too_short(tmp_path: Path) -> None:
    with pytest.raises(SharpnessError, match=rf"it has {FIRST_FRAME} frames"):
        SharpnessFilm(film(tmp_path / "short.mkv", frames(FIRST_FRAME)), 2)


def test_the_command_measures_models_beside_an_unsharp_mask(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(clip), "--model", "fast-x2"]) == 0
    model, mask = capsys.readouterr().out.splitlines()[1:]
    assert model.split()[0] == "fast-x2" and mask.split()[:3] == ["bicubic,", "unsharp", "mask"]
    edges = [float(found[1]) for found in (re.search(r"edge x([\d.]+)", line) for line in (model, mask)) if found]
    assert len(edges) == 2 and edges[0] == pytest.approx(edges[1], abs=0.03)


def test_the_command_tells_of_a_missing_film(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.mkv"), "--model", "fast"]) == 2
    assert "none.mkv" in capsys.readouterr().err
