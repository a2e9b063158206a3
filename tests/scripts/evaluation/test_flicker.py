"""Of films whose flicker is known, and what stands still in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scripts.evaluation.flicker import BORDER_PX, FLICKER_FRAMES, Clip, FlickerError, deviation, luma, static_mask
from scripts.flicker import main
from tests.support.flicker_films import SIZE, film, grey, noisy


def test_luma_is_that_of_the_test_sets() -> None:
    from scripts.common import test_sets

    image = np.random.default_rng(1).integers(0, 256, (5, 7, 3), np.uint8)
    assert luma(image) == pytest.approx(test_sets.luma(image), abs=1e-3)


def test_deviation_of_a_known_change() -> None:
    mask = np.ones(SIZE[::-1], bool)
    frames = [grey(100 + 6 * (i % 2)) for i in range(10)]
    # Half the frames 6 levels of grey above the others: 3 from their mean, and luma has 219 levels for 255.
    assert deviation(iter(frames), mask) == pytest.approx(3 * 219 / 255, abs=1e-3)
    assert deviation(iter(frames[:1] * 5), mask) == 0
    half = mask.copy()
    half[:, SIZE[0] // 2 :] = False
    for frame in frames:
        frame[:, : SIZE[0] // 2] = 100  # where the mask is, nothing changes any more
    assert deviation(iter(frames), half) == 0
    # The same of pictures twice as large.
    assert deviation((f.repeat(2, 0).repeat(2, 1) for f in frames), half) == 0
    assert deviation((f.repeat(2, 0).repeat(2, 1) for f in frames), ~half) == pytest.approx(3 * 219 / 255, abs=1e-3)


def test_deviation_of_noise() -> None:
    assert deviation(iter(noisy(60)), np.ones(SIZE[::-1], bool)) == pytest.approx(3 * 219 / 255, rel=0.05)


def test_noise_stands_still_and_what_moves_does_not() -> None:
    frames = noisy(FLICKER_FRAMES)
    left = 60
    for number, frame in enumerate(frames):  # a bar that goes to the right
        frame[:, left + number : left + 4 + number] = 250
    mask = static_mask(frames)
    assert mask[BORDER_PX + 4 : -BORDER_PX - 4, BORDER_PX + 4 : left - BORDER_PX - 14].all(), (
        "noise alone counts as movement"
    )
    assert not mask[:, left - BORDER_PX :].any(), "what moves, or is near to it, counts as static"
    assert not mask[:BORDER_PX].any(), "nobody knows what lies beyond the edge"


def test_a_slow_drift_is_no_flicker() -> None:
    assert not static_mask([grey(100 + number) for number in range(FLICKER_FRAMES)]).any()


@pytest.mark.integration
def test_a_film_and_what_is_made_of_it(tmp_path: Path) -> None:
    clip = Clip(film(tmp_path / "noise.mkv", noisy(2 * FLICKER_FRAMES + 5)))
    assert clip.size == SIZE and len(clip.windows) == 2 and clip.share > 0.3
    as_it_is = clip.flicker(lambda image: image)
    assert as_it_is == pytest.approx(3 * 219 / 255, rel=0.08)
    assert clip.flicker(lambda image: image // 2) == pytest.approx(as_it_is / 2, rel=0.1)
    assert clip.flicker(lambda image: grey(7)) == 0


@pytest.mark.integration
def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = film(tmp_path / "noise.mkv", noisy(FLICKER_FRAMES, 1.0))
    assert main([str(path), "--model", "fast-x2"]) == 0
    head, bicubic, fast = capsys.readouterr().out.splitlines()
    assert head.startswith(f"noise: 1 x {FLICKER_FRAMES} frames")
    plain, ours = float(bicubic.split()[1]), float(fast.split()[2])
    assert 0 < plain < 1 and ours > plain, "a sharpener of clean pictures makes noise stronger than bicubic does"


@pytest.mark.integration
def test_what_cannot_be_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = film(tmp_path / "short.mkv", noisy(FLICKER_FRAMES - 1))
    with pytest.raises(FlickerError) as told:
        Clip(short)
    assert f"{FLICKER_FRAMES - 1} frames were read" in told.value.facts
    assert main([str(film(tmp_path / "wild.mkv", [grey(9 * (i % 20)) for i in range(FLICKER_FRAMES)]))]) == 2
    assert "Nothing stands still" in capsys.readouterr().err
    assert main([str(tmp_path / "missing.mkv")]) == 2
    assert "missing.mkv" in capsys.readouterr().err
