"""What the mouse, or a finger, does to the view: it moves the divider, zooms and pans. Main thread only."""

from __future__ import annotations

from app.overlays.view_state import ViewState

Point = tuple[float, float]
"""x, y in pixels of the window."""


class Pointer:
    """Turns what the pointer does into changes of the view.

    Over the whole picture the divider follows the pointer: at an exhibition nobody looks for a button. Over a part of
    it the pointer has to look around without taking the divider along, which is then taken by its handle or its line;
    elsewhere dragging moves the picture.
    """

    def __init__(self, view: ViewState, *, locked: bool) -> None:
        """Change `view`, as obey() says."""
        self.obey(view, locked=locked)
        self.at: Point | None = None
        """Where it was last; None before it was seen."""
        self._holds_divider = False
        self._pan: tuple[Point, Point] | None = None  # where it went down, and what was in the middle then

    def obey(self, view: ViewState, *, locked: bool) -> None:
        """Change `view` from now on; `locked`: only its divider, so that no visitor leaves a part to the next one."""
        self._view, self._locked = view, locked

    def press(self, at: Point, reach_px: int) -> None:
        """Take the divider, if it is within `reach_px` or the whole picture is shown; else the picture."""
        self.at = at
        view = self._view
        place = view.viewport().place
        near = abs(at[0] - place.x - view.divider * place.width) <= reach_px
        if view.split and (near or not view.zoomed):
            self._holds_divider = True
            self._divide(at)
        elif view.zoomed and not self._locked:
            self._pan = at, view.centre

    def move(self, at: Point, *, pressed: bool) -> None:
        """Move what is held. `pressed`: whether the button is still down; it may have been released elsewhere."""
        self.at = at
        if not pressed:
            self.release()
        view = self._view
        if self._pan is not None and view.zoomed:
            (x, y), (across, down) = self._pan
            view.pan(
                (
                    across - (at[0] - x) / view.zoom / view.picture[0],
                    down - (at[1] - y) / view.zoom / view.picture[1],
                )
            )
        elif view.split and (self._holds_divider or not view.zoomed):
            self._divide(at)

    def release(self) -> None:
        """Let go of what is held."""
        self._holds_divider, self._pan = False, None

    def turn(self, step: int, at: Point) -> None:
        """Zoom in (step 1) or out (-1) around the pointer."""
        self.at = at
        if not self._locked:
            self._view.zoom_by(step, at)

    def _divide(self, at: Point) -> None:
        place = self._view.viewport().place
        self._view.move((at[0] - place.x) / place.width)
