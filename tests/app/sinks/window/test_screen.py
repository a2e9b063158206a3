"""What the window is given: the visible part alone, pixels as they are, and texts over it."""

from __future__ import annotations

import numpy as np
import pytest

from app.overlays.split_view import SplitView
from app.overlays.stats_panel import StatsPanel
from app.overlays.view_state import ViewState
from app.pipeline.frame import Frame, OutputFrame
from app.sinks.window.screen import Screen
from engines.base import Image
from engines.bicubic import enlarge

SIZE = (640, 360)


class Window:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.image: Image = np.empty(0, np.uint8)
        self.polled = 0

    def write(self, frame: OutputFrame) -> None:
        self.image = frame.image

    def poll(self) -> None:
        self.polled += 1


def noise() -> OutputFrame:
    rng = np.random.default_rng(0)
    source = rng.integers(0, 256, (SIZE[1] // 2, SIZE[0] // 2, 3)).astype(np.uint8)
    return OutputFrame(rng.integers(1, 256, (SIZE[1], SIZE[0], 3)).astype(np.uint8), Frame(source, 0, 0, 0))


def shown(view: ViewState, frame: OutputFrame, **options: bool) -> Image:
    window = Window()
    screen = Screen(window, view, [], **options)
    screen.draw(frame)
    screen.write(frame)
    return window.image


@pytest.mark.parametrize("window", [(0, 0), SIZE])
def test_a_picture_at_its_own_size_is_not_copied(window: tuple[int, int]) -> None:
    frame = noise()
    assert shown(ViewState(window=window), frame) is frame.image


@pytest.mark.parametrize("zoom", [2, 4])
def test_zoomed_every_pixel_is_seen_as_it_is_on_both_sides_of_the_divider(zoom: int) -> None:
    view, frame = ViewState(split=True, picture=SIZE, window=(643, 361), zoom=zoom, centre=(0.3, 0.6)), noise()
    pure = frame.image.copy()
    bicubic = enlarge(frame.input.image, np.empty_like(pure))
    SplitView(view).draw(frame)
    image, (x, y, width, height) = shown(view, frame), view.viewport().part
    left, top, across, down = view.viewport().place
    assert image.shape == (361, 643, 3) and across >= 640 and down == 360
    pixels = image[top : top + down, left : left + across].reshape(height, zoom, width, zoom, 3)
    assert (pixels == pixels[:, :1, :, :1]).all()
    cut = view.viewport().cut(view.divider)
    assert 0 < cut - x < width
    assert np.array_equal(pixels[:, 0, : cut - x, 0], bicubic[y : y + height, x:cut])
    assert np.array_equal(pixels[:, 0, cut - x :, 0], pure[y : y + height, cut : x + width])


def test_a_picture_that_does_not_fit_is_shown_whole_between_clean_bars() -> None:
    view = ViewState(window=(400, 400))
    window = Window()
    screen = Screen(window, view, [])
    for size in (SIZE, (360, 640)):
        image = np.full((size[1], size[0], 3), 200, np.uint8)
        frame = OutputFrame(image, Frame(image, 0, 0, 0))
        screen.draw(frame)
        screen.write(frame)
        x, y, width, height = view.viewport().place
        inside = np.zeros((400, 400), bool)
        inside[y : y + height, x : x + width] = True
        assert (window.image[inside] == 200).all() and (window.image[~inside] == 0).all()
    screen.poll()
    assert window.polled == 1


def test_what_is_recorded_afterwards_stays_as_it_is() -> None:
    view, frame = ViewState(window=SIZE), noise()
    before = frame.image.copy()
    window = Window()
    screen = Screen(window, view, [StatsPanel(view, lambda: ["figures"])], copy=True)
    screen.draw(frame)
    screen.write(frame)
    assert np.array_equal(frame.image, before) and not np.array_equal(window.image, before)


@pytest.mark.parametrize(("window", "zoom"), [(SIZE, 0), (SIZE, 2), (SIZE, 4), ((960, 540), 0), ((400, 300), 0)])
def test_texts_have_one_size_on_the_screen(window: tuple[int, int], zoom: int) -> None:
    view = ViewState(window=window, zoom=zoom, picture=SIZE, screen=(1280, 800))
    image = np.full((SIZE[1], SIZE[0], 3), 128, np.uint8)
    frame, target = OutputFrame(image, Frame(image, 0, 0, 0)), Window()
    screen = Screen(target, view, [StatsPanel(view, lambda: ["29.9 fps on screen"], text_height=view.text_height)])
    screen.draw(frame)
    screen.write(frame)
    _, y, _, height = view.viewport().place
    rows = np.nonzero((target.image[y : y + height] != 128).any((1, 2)))[0]
    assert np.ptp(rows) + 1 == 3 * 11, "one line of capitals of 800 / 72 pixels, with as much above and below"
