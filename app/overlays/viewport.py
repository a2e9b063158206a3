"""Which part of the picture stands where in the window, at which scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from app.pipeline.frame import letterbox

ZOOMS = (1, 2, 4)
"""Screen pixels for one pixel of the picture, in the steps of the zoom; those that would not enlarge are left out."""

WHOLE = 0
"""The zoom that shows the whole picture, as large as it goes into the window."""


class Rectangle(NamedTuple):
    """In pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Viewport:
    """A part of the picture and its place in the window."""

    part: Rectangle
    """In pixels of the picture."""
    place: Rectangle
    """In pixels of the window; the rest of the window is black."""

    @property
    def scale(self) -> float:
        """Screen pixels for one pixel of the picture."""
        return self.place.width / self.part.width

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return where in the picture the point (x, y) of the window is, in the picture's pixels."""
        return (
            self.part.x + (x - self.place.x) * self.part.width / self.place.width,
            self.part.y + (y - self.place.y) * self.part.height / self.place.height,
        )

    def cut(self, divider: float) -> int:
        """Return the column of the picture at which `divider`, a share of the visible part's width, stands."""
        return self.part.x + round(divider * self.part.width)


def steps(picture: tuple[int, int], window: tuple[int, int]) -> list[int]:
    """Return the zooms from small to large for a picture in a window of these sizes (width, height)."""
    return [WHOLE, *(zoom for zoom in ZOOMS if zoom > fitting(picture, window))]


def fitting(picture: tuple[int, int], window: tuple[int, int]) -> float:
    """Return the screen pixels for one of the picture at which the whole picture just fits into the window."""
    return min(window[0] / picture[0], window[1] / picture[1])


def viewport(picture: tuple[int, int], window: tuple[int, int], zoom: int, centre: tuple[float, float]) -> Viewport:
    """Return what of the picture is visible, and where; sizes are (width, height).

    Args:
        picture: Size of the picture.
        window: Size of the window; (0, 0), before it is known, counts as the picture's.
        zoom: Screen pixels for one of the picture's; WHOLE, or one that would not enlarge, shows the whole picture.
        centre: Which point of the picture is to be in the middle, in shares of its size. The part stays inside.
    """
    if min(window) <= 0:
        window = picture
    if zoom <= fitting(picture, window):
        return Viewport(Rectangle(0, 0, *picture), Rectangle(*letterbox(picture, window)))
    (x, width, left, across), (y, height, top, down) = (
        _along(size, room, zoom, share) for size, room, share in zip(picture, window, centre, strict=True)
    )
    return Viewport(Rectangle(x, y, width, height), Rectangle(left, top, across, down))


def _along(size: int, room: int, zoom: int, share: float) -> tuple[int, int, int, int]:
    """Return start and length of the part, and start and length of its place, along one side.

    Only whole pixels of the picture are shown: each becomes the same number of the screen's.
    """
    length = min(size, max(1, room // zoom))
    start = min(size - length, max(0, round(share * size - length / 2)))
    return start, length, (room - length * zoom) // 2, length * zoom
