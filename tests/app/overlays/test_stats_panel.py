"""Figures, help and notices on the picture."""

from __future__ import annotations

import time

import numpy as np
import pytest

from app.overlays import stats_panel
from app.overlays.stats_panel import HELP, StatsPanel
from app.overlays.text_panel import TextPanel, cap_height
from app.overlays.view_state import ViewState
from app.pipeline.frame import Frame, OutputFrame
from engines.base import Image

pytestmark = pytest.mark.media

LINES = ["29.9 fps on screen", "engine 12.0 ms   age 40 ms, p99 55 ms"]


def drawn(view: ViewState, width: int = 1280, height: int = 720, level: int = 128) -> Image:
    image = np.full((height, width, 3), level, np.uint8)
    StatsPanel(view, lambda: LINES).draw(OutputFrame(image, Frame(image, 0, 0, 0)))
    return image


def changed(image: Image, level: int = 128) -> tuple[int, int, int, int]:
    """The box that is not of that grey any more: left, top, right, bottom."""
    rows, columns = np.nonzero((image != level).any(2))
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


@pytest.mark.integration
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (3840, 2160), (640, 480), (4096, 4096)])
def test_figures_stand_in_the_corner_and_grow_with_the_picture(width: int, height: int) -> None:
    image = drawn(ViewState(), width, height)
    left, top, right, bottom = changed(image)
    assert 0 < left < width // 20
    assert 0 < top < height // 20
    assert right < width * 0.75
    # Two lines of letters, each 1/55 of the picture's height.
    assert bottom - top == pytest.approx(height / 55 * 4.9, rel=0.2)
    assert image.max() > 230, "light text"
    assert image.min() < 60, "dark ground"


@pytest.mark.parametrize("size", [(2, 2), (32, 32), (48, 20), (20, 300)])
def test_a_tiny_picture_is_no_problem(size: tuple[int, int]) -> None:
    view = ViewState(help=True)
    view.say("a notice that is far longer than such a picture is wide")
    drawn(view, *size)


def test_off_it_draws_nothing() -> None:
    assert (drawn(ViewState(overlay=False)) == 128).all()


def test_help_lists_every_key() -> None:
    image = drawn(ViewState(overlay=False, help=True))
    left, top, right, bottom = changed(image)
    assert abs((left + right) / 2 - 640) < 3
    assert abs((top + bottom) / 2 - 360) < 3
    keys = {"q, Esc", "f", "space", "<- ->", "z, wheel", "m", "+ -", "o", "r", "s", "h"}
    assert {line.partition("\t")[0] for line in HELP} == keys


def test_a_notice_goes_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    view = ViewState(overlay=False)
    view.say("saved")
    assert changed(drawn(view))[1] > 600
    later = time.monotonic() + 60
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert (drawn(view) == 128).all()


def test_figures_are_asked_for_twice_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    panel = StatsPanel(ViewState(), lambda: asked.append(1) or LINES)  # type: ignore[func-returns-value]
    image = np.zeros((360, 640, 3), np.uint8)
    for _ in range(10):
        panel.draw(OutputFrame(image, Frame(image, 0, 0, 0)))
    assert len(asked) == 1
    now += stats_panel.REFRESH_S
    panel.draw(OutputFrame(image, Frame(image, 0, 0, 0)))
    assert len(asked) == 2


def test_the_picture_shines_through_and_no_letter_is_lost() -> None:
    panel = TextPanel(["age 40 ms -> 50 ms"], height=cap_height(720), width=600)
    bright, dark = np.full((200, 700, 3), 250, np.uint8), np.zeros((200, 700, 3), np.uint8)
    panel.draw(bright, 10, 10)
    panel.draw(dark, 10, 10)
    assert 60 < bright[12, 12, 0] < 110
    assert dark[12, 12, 0] == 0
    assert np.abs(bright.astype(int) - dark)[10:40, 10:100][dark[10:40, 10:100] > 240].max(initial=0) < 20


def test_a_panel_partly_outside_is_cut() -> None:
    image = np.full((50, 50, 3), 128, np.uint8)
    for at in ((-10, -5), (45, 45), (-500, 0), (500, 500)):
        TextPanel(["text"], height=8, width=100).draw(image, *at)
    assert image.shape == (50, 50, 3)


def test_a_picture_of_another_size_gets_letters_of_its_own() -> None:
    view = ViewState(help=True)
    view.say("saved")
    shown, images = StatsPanel(view, lambda: LINES), []
    for _ in range(2):
        for height in (720, 360):
            image = np.full((height, height * 16 // 9, 3), 128, np.uint8)
            shown.draw(OutputFrame(image, Frame(image, 0, 0, 0)))
            images.append(image)
    assert np.array_equal(images[1], drawn(view, 640, 360))
    assert np.array_equal(images[2], drawn(view, 1280, 720))
