"""Webcam pictures for training: sized and repeatable, each part does what it says, and none moves the picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.common.test_sets import psnr
from scripts.training.degradation import Degradation, Image, add_noise, blur, sharpen, through_h264, through_jpeg


def picture(height: int = 96, width: int = 128) -> Image:
    small = np.random.default_rng(1).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.mark.integration
@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([2, 3, 4]), st.integers(8, 30), st.integers(8, 30))
def test_any_seed_gives_a_small_picture_of_the_same_thing_twice(seed: int, scale: int, height: int, width: int) -> None:
    high = picture()[: height * scale, : width * scale]
    high = high[: high.shape[0] // scale * scale, : high.shape[1] // scale * scale]
    low = Degradation.webcam().low(high, seed, scale)
    assert low.shape == (high.shape[0] // scale, high.shape[1] // scale, 3) and low.dtype == np.uint8
    assert np.array_equal(low, Degradation.webcam().low(high, seed, scale))
    clean = cv2.resize(high, low.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert psnr(low, np.asarray(clean, np.uint8), border=0) > 15  # the same thing, if worse


@pytest.mark.integration
def test_seeds_differ_and_so_does_their_strength() -> None:
    clean = cv2.resize(picture(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    figures = [psnr(Degradation.webcam().low(picture(), seed, 2), np.asarray(clean), border=0) for seed in range(40)]
    assert len(set(figures)) > 25
    assert 1 <= sum(f > 55 for f in figures) < 15  # the share that stays clean
    worse = [f for f in figures if f < 55]
    assert max(worse) - min(worse) > 3


def test_noise_grows_with_light_and_gain() -> None:
    def deviation(level: int, gain: float) -> float:
        flat = np.full((256, 256, 3), level, np.float32)
        return float((add_noise(flat, gain, np.random.default_rng(0), 1) - flat).std())

    assert deviation(200, 1) == pytest.approx((0.01 * 200 + 0.09) ** 0.5, rel=0.05)
    assert deviation(200, 16) == pytest.approx(4 * deviation(200, 1), rel=0.05)
    assert deviation(20, 4) < 0.5 * deviation(200, 4)


def test_blur_and_sharpening_are_opposites_and_leave_flat_areas() -> None:
    flat, seen = np.full((32, 32, 3), 90, np.float32), picture().astype(np.float32)
    assert blur(flat, (1, 1), np.random.default_rng(0), 1) == pytest.approx(90, abs=0.01)
    assert sharpen(flat, 0.5) == pytest.approx(90, abs=0.01)
    assert blur(seen, (1, 1), np.random.default_rng(0), 1).std() < seen.std() < sharpen(seen, 0.5).std()


@pytest.mark.integration
@pytest.mark.parametrize("size", [(96, 128), (95, 127)])
def test_codecs_cost_quality_and_move_nothing(size: tuple[int, int]) -> None:
    seen = picture(96, 128)[: size[0], : size[1]]
    for good, bad in (
        (through_jpeg(seen, 95, np.random.default_rng(0)), through_jpeg(seen, 20, np.random.default_rng(0))),
        (through_h264(seen, 18, np.array([2, -1])), through_h264(seen, 42, np.array([2, -1]))),
    ):
        assert good.shape == bad.shape == seen.shape
        assert psnr(good, seen, border=0) > psnr(bad, seen, border=0) + 1 > 20


def test_an_unknown_key_is_told() -> None:
    with pytest.raises(TypeError, match="smear"):
        Degradation.of({"smear": 1})
    assert Degradation.of({"blur": [0, 1]}).blur == (0, 1)
