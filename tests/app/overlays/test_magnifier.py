"""The magnifier: which part of the picture it shows, and that both sides are alike."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.config.schema import KioskConfig
from app.overlays.magnifier import Magnifier
from app.overlays.stack import build_overlays
from app.overlays.view_state import ViewState
from app.pipeline.frame import Frame, Origin, OutputFrame
from app.pipeline.stats import Stats
from engines.bicubic import enlarge
from tests.support.output_frames import flat, output_frame


def test_the_magnifier_shows_the_most_detailed_part_alike_on_both_sides() -> None:
    source = flat()
    source[200:260, 100:180] = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    magnifier, shown = Magnifier(ViewState(magnifier=True)), output_frame(source)
    magnifier.tracker.draw(shown)
    x, y, width, height = magnifier.tracker.part
    assert abs(x - 100) <= 8 and abs(y - 200) <= 8 and (width, height) == (80, 60)
    assert magnifier.tracker.before is not None and magnifier.tracker.after is not None
    # The picture is bicubic here, so both sides must be the same to the pixel, and be what the picture has there.
    assert np.array_equal(magnifier.tracker.before, magnifier.tracker.after)
    assert np.array_equal(magnifier.tracker.after, shown.image[2 * y : 2 * (y + height), 2 * x : 2 * (x + width)])
    magnifier.draw(shown)
    assert shown.image[40:200, 700:1250].std() > 40, "drawn in the upper right corner"


@pytest.mark.parametrize("size", [(1440, 1080), (960, 720), (854, 642)])
def test_both_sides_are_alike_at_an_exact_size(size: tuple[int, int]) -> None:
    source = np.full((480, 640, 3), 90, np.uint8)
    detail = np.random.default_rng(0).integers(0, 256, (15, 20, 3), np.uint8)
    source[200:260, 100:180] = cv2.resize(detail, (80, 60), interpolation=cv2.INTER_CUBIC)
    image = enlarge(source, np.empty((size[1], size[0], 3), np.uint8))
    magnifier, frame = Magnifier(ViewState(magnifier=True)), OutputFrame(image, Frame(source, 0, 0, 0))
    magnifier.tracker.draw(frame)
    before, after = magnifier.tracker.before, magnifier.tracker.after
    assert before is not None and after is not None and before.shape == after.shape
    assert cv2.PSNR(before, after) > 45  # a pixel further would be some 20 dB
    magnifier.draw(frame)
    x, y, _, _ = magnifier.tracker.enlarged_part
    assert (image[y, x] == 255).all()


def test_the_magnifier_does_not_wander() -> None:
    rng = np.random.default_rng(1)
    magnifier, parts = Magnifier(ViewState(magnifier=True)), set()
    for _ in range(20):
        magnifier.tracker._searched = float("-inf")
        magnifier.tracker.draw(output_frame(rng.integers(100, 140, (360, 640, 3)).astype(np.uint8)))
        parts.add(magnifier.tracker.part)
    assert len(parts) == 1


@pytest.mark.parametrize("size", [(16, 16), (70, 50), (160, 120), (641, 359)])
def test_small_and_odd_pictures_have_no_magnifier_or_a_right_one(size: tuple[int, int]) -> None:
    source = np.random.default_rng(2).integers(0, 256, (size[1], size[0], 3), np.uint8)
    view, kiosk = ViewState(split=True, magnifier=True), KioskConfig(sweep=5, languages=("ko", "en"))
    overlays = build_overlays(kiosk, view, Stats(), lambda: ["a"], lambda: True, window=True, recorded=True)
    for origin in Origin:
        for kind in (overlays.screen, overlays.recording):
            shown = output_frame(source, origin=origin)
            for overlay in (*overlays.picture, *kind):
                overlay.draw(shown)


def test_it_is_switched_by_the_view_and_costs_nothing_while_it_is_off() -> None:
    source = np.random.default_rng(0).integers(0, 256, (360, 640, 3)).astype(np.uint8)
    view = ViewState()
    magnifier = Magnifier(view)
    for on in (False, True, False):
        view.magnifier = on
        shown = output_frame(source)
        before = shown.image.copy()
        magnifier.tracker.draw(shown)
        magnifier.draw(shown)
        assert (magnifier.tracker.before is not None) == on == (magnifier.bottom > 0)
        assert np.array_equal(before, shown.image) == (not on)


def test_zoomed_its_frame_stands_around_the_same_part() -> None:
    source = flat()
    source[200:260, 300:380] = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    view = ViewState(magnifier=True)
    magnifier, whole = Magnifier(view), output_frame(source)
    magnifier.tracker.draw(whole)
    x, y, _, _ = magnifier.tracker.part
    part = (2 * x - 40, 2 * y - 30, 320, 180)
    area = np.zeros((720, 1280, 3), np.uint8)
    magnifier.draw(OutputFrame(area, whole.input, whole.size, part))
    left, top = 4 * 40, 4 * 30
    assert (area[top : top + 300, left] == 255).all() and (area[top, left : left + 200] == 255).all()
