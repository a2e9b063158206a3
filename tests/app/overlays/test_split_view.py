"""The split view: a fair comparison of the same frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.overlays.split_view import SplitMarks, SplitView
from app.overlays.text_panel import TextPanel
from app.overlays.view_state import ViewState
from app.pipeline.frame import Frame, OutputFrame
from engines.base import Image
from engines.bicubic import enlarge


def shown(width: int, height: int, scale: int, divider: float, *, compare: bool = True) -> tuple[Image, Image, int]:
    """What the split view makes of a black picture, the whole of the bicubic one, and where the cut is."""
    source = np.random.default_rng(width * height).integers(40, 256, (height, width, 3), np.uint8)
    image = np.zeros((height * scale, width * scale, 3), np.uint8)
    view, frame = ViewState(split=compare, divider=divider), OutputFrame(image, Frame(source, 0, 0, 0))
    for overlay in (SplitView(view), SplitMarks(view)):
        overlay.draw(frame)
    return image, enlarge(source, np.empty_like(image)), round(divider * width * scale)


@settings(max_examples=60)
@given(st.integers(16, 90), st.integers(60, 110), st.integers(1, 4), st.floats(0, 1))
def test_left_of_the_divider_is_exactly_bicubic(width: int, height: int, scale: int, divider: float) -> None:
    image, bicubic, cut = shown(width, height, scale, divider)
    clear = slice(0, height * scale // 3)  # above the labels
    assert np.array_equal(image[clear, : max(0, cut - 1)], bicubic[clear, : max(0, cut - 1)])
    assert not image[clear, cut + 2 :].any()


@pytest.mark.parametrize("size", [(1440, 1080), (960, 720), (642, 482), (320, 240)])
def test_a_picture_of_an_exact_size_is_compared_with_bicubic_of_that_size(size: tuple[int, int]) -> None:
    source = np.random.default_rng(0).integers(40, 256, (480, 640, 3), np.uint8)
    image = np.zeros((size[1], size[0], 3), np.uint8)
    SplitView(ViewState(split=True, divider=0.5)).draw(OutputFrame(image, Frame(source, 0, 0, 0)))
    clear = np.s_[: size[1] // 3, : size[0] // 2 - 2]
    assert np.array_equal(image[clear], enlarge(source, np.empty_like(image))[clear])
    assert not image[: size[1] // 3, size[0] // 2 + 4 :].any()


def test_bicubic_is_no_weaker_a_kind_of_interpolation() -> None:
    edge = np.full((16, 16, 3), 50, np.uint8)
    edge[:, 8:] = 200
    image = enlarge(edge, np.empty((32, 32, 3), np.uint8))
    assert image.min() < 45 and image.max() > 205, "cubic interpolation sharpens an edge, and goes beyond both sides"


def test_the_divider_and_both_labels_are_there() -> None:
    image, _, cut = shown(640, 360, 2, 0.5)
    assert (image[:, cut] == 255).all()
    assert image[680:, 1100:].max() > 200  # the right label, on black
    assert not image[:600, 700:].any()


def test_a_side_that_is_gone_takes_its_label_with_it() -> None:
    image, _, _ = shown(640, 360, 2, 0.0)
    assert not image[:, 4:1000].any()


def test_off_it_changes_nothing() -> None:
    image, _, _ = shown(64, 48, 2, 0.5, compare=False)
    assert not image.any()


@pytest.mark.parametrize("divider", [-3.0, 0.2, 7.0])
def test_the_divider_stays_inside(divider: float) -> None:
    view = ViewState()
    view.move(divider)
    assert 0 <= view.divider <= 1


def test_each_side_has_its_own_name() -> None:
    places = {}

    class Placed(TextPanel):
        def __init__(self, lines: Sequence[str], *, height: int, width: int) -> None:
            super().__init__(lines, height=height, width=width)
            self.lines = lines

        def draw(self, image: Image, x: int, y: int) -> None:
            places[self.lines[0]] = x
            super().draw(image, x, y)

    image = np.zeros((720, 1280, 3), np.uint8)
    split = SplitMarks(ViewState(split=True), before=["then"], after=["now"], render=Placed)
    split.draw(OutputFrame(image, Frame(np.zeros((360, 640, 3), np.uint8), 0, 0, 0)))
    assert places["then"] < 640 < places["now"]


def test_a_picture_of_another_size_is_no_problem() -> None:
    split = SplitView(ViewState(split=True))
    for height in (90, 120, 60):
        source = np.random.default_rng(height).integers(40, 256, (height, 64, 3), np.uint8)
        image = np.zeros((2 * height, 128, 3), np.uint8)
        split.draw(OutputFrame(image, Frame(source, 0, 0, 0)))
        assert np.array_equal(image[: height // 2, :60], enlarge(source, np.empty_like(image))[: height // 2, :60])


def test_the_handle_is_on_the_divider_where_there_is_a_pointer() -> None:
    images = []
    for handle in (False, True):
        source, image = np.zeros((180, 320, 3), np.uint8), np.zeros((720, 1280, 3), np.uint8)
        view = ViewState(split=True, divider=0.25)
        SplitMarks(view, handle=handle).draw(OutputFrame(image, Frame(source, 0, 0, 0)))
        images.append(image)
    rows, columns = np.nonzero((images[0] != images[1]).any(2))
    assert abs(rows.mean() - 360) < 2 and abs(columns.mean() - 320) < 2
    assert np.ptp(rows) > 20 and np.ptp(columns) > 20
    assert images[1][360, 320].min() > 200, "light, with dark arrows"


@settings(max_examples=60)
@given(st.floats(0, 1), st.sampled_from([1, 2, 4]), st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_zoomed_the_divider_stands_in_the_visible_part_between_two_pixels(
    divider: float, zoom: int, centre: tuple[float, float]
) -> None:
    source, image = np.full((90, 160, 3), 200, np.uint8), np.zeros((180, 320, 3), np.uint8)
    view = ViewState(split=True, divider=divider, zoom=zoom, centre=centre, picture=(320, 180), window=(200, 150))
    SplitView(view).draw(OutputFrame(image, Frame(source, 0, 0, 0)))
    part, place = view.viewport().part, view.viewport().place
    drawn = np.nonzero(image.any(2))
    cut = drawn[1].max() + 1 if drawn[1].size else part.x
    assert abs(cut - (part.x + divider * part.width)) <= 1
    if drawn[1].size:  # nothing is spent on what is not visible
        assert drawn[1].min() == part.x
        assert (drawn[0].min(), drawn[0].max() + 1) == (part.y, part.y + part.height)
    recorded = np.zeros((180, 320, 3), np.uint8)
    SplitView(view, whole=True).draw(OutputFrame(recorded, Frame(source, 0, 0, 0)))
    assert (recorded[:, :cut] == 200).all() and not recorded[:, cut:].any()
    area = np.zeros((place.height, place.width, 3), np.uint8)
    SplitMarks(view, text_height=lambda _: 6).draw(OutputFrame(area, Frame(source, 0, 0, 0), (320, 180), part))
    lit = np.nonzero((area == 255).all((0, 2)))[0]
    if lit.size:  # else it stands beyond the last column
        assert abs(lit.mean() - (cut - part.x) * place.width / part.width) <= 1
