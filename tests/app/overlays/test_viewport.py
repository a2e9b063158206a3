"""Which part of the picture is visible, at which scale, and what zooming and panning do to it."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.overlays.view_state import ViewState
from app.overlays.viewport import WHOLE, ZOOMS, fitting, steps, viewport
from app.pipeline.frame import letterbox

sizes = st.tuples(st.integers(16, 4096), st.integers(16, 4096))
shares = st.tuples(st.floats(0, 1), st.floats(0, 1))


@given(sizes, sizes, st.sampled_from([WHOLE, *ZOOMS]), shares)
def test_the_part_is_in_the_picture_and_its_place_in_the_window(
    picture: tuple[int, int], window: tuple[int, int], zoom: int, centre: tuple[float, float]
) -> None:
    seen = viewport(picture, window, zoom, centre)
    for size, start, length in zip(picture, seen.part[:2], seen.part[2:], strict=True):
        assert start >= 0 and length > 0 and start + length <= size
    for size, start, length in zip(window, seen.place[:2], seen.place[2:], strict=True):
        assert length > 0 and ((start >= 0 and start + length <= size) or size < zoom)
    if zoom > fitting(picture, window):
        assert (seen.place.width, seen.place.height) == (zoom * seen.part.width, zoom * seen.part.height)
        for size, room, length in zip(picture, window, seen.part[2:], strict=True):
            assert length == size or room - zoom < zoom * length, "nothing is left out that has room"
    else:
        assert tuple(seen.part) == (0, 0, *picture) and tuple(seen.place) == letterbox(picture, window)


def test_before_the_window_is_known_the_picture_is_as_it_is() -> None:
    seen = viewport((640, 360), (0, 0), WHOLE, (0.5, 0.5))
    assert tuple(seen.part) == tuple(seen.place) == (0, 0, 640, 360)


@pytest.mark.parametrize(
    ("picture", "window", "zooms"),
    [
        ((1280, 960), (1280, 960), [WHOLE, 2, 4]),
        ((1280, 720), (1920, 1080), [WHOLE, 2, 4]),
        ((3840, 2160), (1280, 720), [WHOLE, 1, 2, 4]),
        ((640, 480), (1920, 1080), [WHOLE, 4]),
        ((320, 240), (1920, 1080), [WHOLE]),
    ],
)
def test_the_steps_of_the_zoom_enlarge(picture: tuple[int, int], window: tuple[int, int], zooms: list[int]) -> None:
    assert steps(picture, window) == zooms


@given(sizes, sizes, shares, st.lists(st.tuples(st.sampled_from([-1, 1]), shares), max_size=8))
def test_zooming_keeps_what_is_under_the_pointer_there(
    picture: tuple[int, int],
    window: tuple[int, int],
    pan: tuple[float, float],
    turns: list[tuple[int, tuple[float, float]]],
) -> None:
    view = ViewState(picture=picture, window=window)
    view.pan(pan)
    for step, share in turns:
        x, y = share[0] * window[0], share[1] * window[1]
        before, was = view.viewport().at(x, y), view.zoom
        view.zoom_by(step, (x, y))
        seen = view.viewport()
        if view.zoom in (WHOLE, was):
            continue
        for size, start, length, under, now in zip(
            picture, seen.part[:2], seen.part[2:], before, seen.at(x, y), strict=True
        ):
            if 0 < start < size - length:  # else the picture's edge has stopped it
                assert abs(now - under) <= 1.5


@given(sizes, sizes)
def test_going_round_comes_back_to_the_whole_picture(picture: tuple[int, int], window: tuple[int, int]) -> None:
    view = ViewState(picture=picture, window=window)
    seen = []
    for _ in steps(picture, window):
        seen.append(view.zoom)
        view.zoom_round((1, 1))
    assert seen == steps(picture, window)
    assert view.zoom == WHOLE and view.centre == (0.5, 0.5) and not view.zoomed


@given(sizes, sizes, shares)
def test_panning_has_no_dead_way_at_the_edges(
    picture: tuple[int, int], window: tuple[int, int], centre: tuple[float, float]
) -> None:
    view = ViewState(picture=picture, window=window, zoom=4)
    assume(view.zoomed)
    view.pan((centre[0] * 5 - 2, centre[1] * 5 - 2))
    part = view.viewport().part
    middle = part.x + part.width / 2, part.y + part.height / 2
    assert view.centre == pytest.approx((middle[0] / picture[0], middle[1] / picture[1]))


def test_wheel_ends_stop() -> None:
    view = ViewState(picture=(640, 360), window=(640, 360))
    view.zoom_by(-1)
    assert view.zoom == WHOLE
    for _ in range(9):
        view.zoom_by(1)
    assert view.zoom == 4
    view.window = (4000, 4000)  # as in full screen, where the whole picture is larger than that
    assert not view.zoomed and tuple(view.viewport().part) == (0, 0, 640, 360)


@given(st.integers(1, 4320), st.integers(60, 4320))
def test_text_has_one_size_however_the_picture_is_scaled(screen: int, height: int) -> None:
    view = ViewState(screen=(1920, screen))
    size = view.text_height(height)
    assert 4 <= size <= max(4, height / 20)
    if height >= screen / 3:
        assert size == max(4, view.text_height(screen))


@pytest.mark.parametrize(
    ("zoom", "window", "text"),
    [(WHOLE, (640, 360), ""), (WHOLE, (320, 180), "shown at 50 %"), (2, (640, 360), "zoom 2:1"), (WHOLE, (0, 0), "")],
)
def test_the_scale_is_told(zoom: int, window: tuple[int, int], text: str) -> None:
    assert ViewState(picture=(640, 360), window=window, zoom=zoom).scale_text() == text


def test_what_a_window_in_another_process_says_comes_back_as_it_was() -> None:
    import json

    view, other = ViewState(split=True, zoom=2, centre=(0.25, 0.5), picture=(6, 4), window=(3, 2)), ViewState()
    other.update(json.loads(json.dumps(view.shared())))
    assert other == view
