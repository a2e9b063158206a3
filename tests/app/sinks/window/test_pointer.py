"""The mouse: it moves the divider, zooms around itself and pans."""

from __future__ import annotations

import pytest

from app.overlays.view_state import ViewState
from app.overlays.viewport import WHOLE
from app.sinks.window.pointer import Pointer

REACH_PX = 20


def seen(**state: object) -> ViewState:
    view = ViewState(split=True, picture=(640, 360), window=(640, 360))
    view.update(state)
    return view


def test_over_the_whole_picture_the_divider_follows() -> None:
    view = seen()
    pointer = Pointer(view, locked=False)
    pointer.move((160, 90), pressed=False)
    assert view.divider == 0.25
    pointer.press((480, 90), REACH_PX)  # as a finger does, which has not moved before
    assert view.divider == 0.75
    view.split = False
    pointer.move((0, 0), pressed=False)
    assert view.divider == 0.75


def test_the_bars_beside_the_picture_do_not_count() -> None:
    view = seen(window=(840, 360))
    Pointer(view, locked=False).move((100 + 160, 10), pressed=False)
    assert view.divider == 0.25


def test_zoomed_the_divider_is_taken_by_its_handle_alone() -> None:
    view = seen(zoom=2)
    pointer = Pointer(view, locked=False)
    pointer.move((100, 100), pressed=False)
    assert view.divider == 0.5, "looking around does not take it along"
    pointer.press((320 + REACH_PX, 20), REACH_PX)
    pointer.move((480, 300), pressed=True)
    assert view.divider == 0.75 and view.centre == (0.5, 0.5)
    pointer.release()
    pointer.move((160, 300), pressed=False)
    assert view.divider == 0.75


@pytest.mark.parametrize("split", [False, True])
def test_dragging_elsewhere_moves_the_picture_with_the_pointer(split: bool) -> None:
    view = seen(split=split, zoom=4)
    pointer = Pointer(view, locked=False)
    under = view.viewport().at(100, 100)
    pointer.press((100, 100), REACH_PX)
    for step in range(1, 9):
        pointer.move((100 + 8 * step, 100 - 4 * step), pressed=True)
    assert view.viewport().at(164, 68) == pytest.approx(under, abs=1)
    assert view.divider == 0.5
    pointer.move((400, 300), pressed=False)  # released outside of the window
    pointer.move((500, 300), pressed=True)
    assert view.viewport().at(164, 68) == pytest.approx(under, abs=1)


def test_the_wheel_zooms_around_the_pointer_and_back() -> None:
    view = seen(split=False)
    pointer = Pointer(view, locked=False)
    for zoom in (2, 4):
        pointer.turn(1, (160, 90))
        assert view.zoom == zoom and view.viewport().at(160, 90) == pytest.approx((160, 90), abs=1)
    pointer.turn(-1, (160, 90))
    pointer.turn(-1, (160, 90))
    assert view.zoom == WHOLE


def test_locked_only_the_divider_obeys() -> None:
    view = seen()
    pointer = Pointer(view, locked=True)
    pointer.turn(1, (160, 90))
    assert view.zoom == WHOLE
    pointer.move((160, 90), pressed=False)
    assert view.divider == 0.25
