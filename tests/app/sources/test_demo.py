"""The demo camera: the same pictures every time, at the asked rate, live."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from app.errors import SourceError
from app.sources.demo.camera import NOISE_MARGIN_PX, NOISE_STD, DemoCamera, _noise, _view
from app.sources.demo.poster import draw_poster
from tests.support.clips import take


def test_a_frame_depends_on_its_number_and_the_seed_alone() -> None:
    one, two = DemoCamera(size=(160, 90)), DemoCamera(size=(160, 90))
    later = one.picture(40)
    assert np.array_equal(one.picture(7), two.picture(7))
    assert np.array_equal(later, two.picture(40)) and not np.array_equal(later, two.picture(41))
    assert not np.array_equal(DemoCamera(size=(160, 90), seed=1).picture(7), one.picture(7))


@pytest.mark.parametrize("size", [(16, 16), (641, 359), (90, 160), (400, 16)])
def test_any_size(size: tuple[int, int]) -> None:
    picture = DemoCamera(size=size).picture(3)
    assert picture.shape == (size[1], size[0], 3) and picture.dtype == np.uint8 and picture.std() > 5


@pytest.mark.parametrize("size", [(1, 1), (20000, 20000)])
def test_impossible_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(SourceError, match="cannot make pictures of"):
        DemoCamera(size=size)


def test_it_keeps_the_rate_and_closes_itself() -> None:
    demo = DemoCamera(size=(64, 48), fps=50)
    assert (demo.live, demo.paced, demo.fps, demo.name) == (True, True, 50, "demo")
    began = time.monotonic()
    frames = take(demo, 26)
    assert 0.45 < time.monotonic() - began < 10
    for frame in frames:
        assert frame.position == frame.index / 50
        assert frame.size == (64, 48)
        assert began + frame.position - 0.001 <= frame.captured  # never early


def test_a_slow_taker_makes_it_skip() -> None:
    demo, indexes = DemoCamera(size=(64, 48), fps=100), []
    for frame in demo:
        indexes.append(frame.index)
        time.sleep(0.05)
        if len(indexes) == 5:
            demo.close()
    assert indexes[0] == 0 and indexes[-1] >= 16


@pytest.mark.parametrize("size", [(640, 360), (90, 160), (400, 40)])
def test_the_view_moves_smoothly_inside_the_poster(size: tuple[int, int]) -> None:
    poster = draw_poster(*size)
    limit = np.array([[poster.shape[1]], [poster.shape[0]]])
    corners = np.array([[0, size[0] - 1, 0, size[0] - 1], [0, 0, size[1] - 1, size[1] - 1], [1, 1, 1, 1]], float)
    last = None
    for tick in range(0, 120 * 30, 3):
        seen = _view(tick / 30, size, poster) @ corners
        assert (seen >= -1).all() and (seen <= limit).all()
        if last is not None:
            assert np.abs(seen - last).max() < 0.02 * poster.shape[1]
        last = seen


def test_the_noise_is_mild_and_centred() -> None:
    brighter, darker = _noise(300 + NOISE_MARGIN_PX, 200, 0)
    noise = brighter.astype(int) - darker
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - NOISE_STD) < 0.15


def test_the_scene_has_detail_that_survives() -> None:
    """Sharper than its own blur by far: fine lines and text reach the frame."""
    grey = cv2.cvtColor(DemoCamera().picture(0), cv2.COLOR_BGR2GRAY).astype(float)
    assert np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1.5)).mean() > 4
