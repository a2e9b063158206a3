"""Lines of text on a dark, translucent background, rendered once and laid over many pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import cv2
import numpy as np

from engines.base import Image

FONT = cv2.FONT_HERSHEY_DUPLEX  # the plainest of those that every OpenCV since 2 draws alike
CAP_PX = 22
"""Height of a capital letter of FONT at scale 1, in pixels (cv2.getTextSize)."""
BACKGROUND_BRIGHTNESS = 0.35
"""Share of its brightness that the picture keeps behind the text."""
TEXT_COLOUR = (245, 245, 245)


TextHeight: TypeAlias = Callable[[int], int]
"""Returns the height of a capital letter in pixels, for a picture of a height in pixels: cap_height, or the screen's.
"""


class TextPanel:
    """Text as an image that is laid over a picture in two passes over its own area alone."""

    def __init__(self, lines: Sequence[str], *, height: int, width: int) -> None:
        """Render `lines` with capital letters `height` pixels high, at most `width` pixels wide: longer text shrinks.

        Text is ASCII, as OpenCV's own fonts are. A tab starts the second column.
        """
        width = max(1, width)
        rows = [line.encode("ascii", "replace").decode().partition("\t") for line in lines]
        pad, cap = max(2, height), max(1, height)
        second, longest = columns(rows, cap)
        while longest + 2 * pad > width and cap > 1:
            cap -= 1
            pad = max(1, min(pad, cap))
            second, longest = columns(rows, cap)
        step = round(cap * 1.9)
        mask: Image = np.zeros((len(rows) * step - (step - cap) + 2 * pad, min(width, longest + 2 * pad)), np.uint8)
        for row, (first, tab, rest) in enumerate(rows):
            for text, x in ((first, pad), (rest, pad + second)) if tab else ((first, pad),):
                at = (x, pad + cap + row * step)
                cv2.putText(mask, text, at, FONT, cap / CAP_PX, 255, thickness(cap), cv2.LINE_AA)
        self._lay(mask)

    @classmethod
    def of(cls, mask: Image) -> TextPanel:
        """Make a panel of text drawn elsewhere: `mask` is uint8 [H, W], from 0 (background) to 255 (text)."""
        panel = cls.__new__(cls)
        panel._lay(mask)
        return panel

    def _lay(self, mask: Image) -> None:
        share = mask[..., None].astype(np.float32) / 255
        self._light: Image = (share * np.array(TEXT_COLOUR, np.float32)).astype(np.uint8)
        self._keep: Image = np.repeat(((1 - share) * BACKGROUND_BRIGHTNESS * 255).astype(np.uint8), 3, axis=2)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self._light.shape[1], self._light.shape[0]

    def draw(self, image: Image, x: int, y: int) -> None:
        """Lay it over `image`, uint8 [H, W, 3], with its upper left corner at (x, y); what lies outside is left out."""
        width, height = self.size
        left, top = max(0, x), max(0, y)
        right, bottom = min(image.shape[1], x + width), min(image.shape[0], y + height)
        if right <= left or bottom <= top:
            return
        part = image[top:bottom, left:right]
        inside = (slice(top - y, bottom - y), slice(left - x, right - x))
        cv2.multiply(part, self._keep[inside], dst=part, scale=1 / 255)
        cv2.add(part, self._light[inside], dst=part)


class Renderer(Protocol):
    """Renders lines of text, as TextPanel and CaptionFont.panel do."""

    def __call__(self, lines: Sequence[str], *, height: int, width: int) -> TextPanel:
        """Render `lines` with letters `height` pixels high, at most `width` pixels wide."""


class PanelCache:
    """The panels of an overlay, one for each name, rendered again only when its text or size changes."""

    def __init__(self, render: Renderer = TextPanel) -> None:
        self._render = render
        self._panels: dict[str, tuple[tuple[object, ...], TextPanel]] = {}

    def panel(self, name: str, lines: Sequence[str], *, height: int, width: int) -> TextPanel:
        """Return the panel `name`, showing `lines` with letters `height` pixels high, at most `width` pixels wide."""
        key = (*lines, height, width)
        if name not in self._panels or self._panels[name][0] != key:
            self._panels[name] = key, self._render(lines, height=height, width=width)
        return self._panels[name][1]


def cap_height(height: int) -> int:
    """Return the height of a capital letter, in pixels, that reads well on a picture of `height`."""
    return max(4, round(height / 55))


def thickness(cap: int) -> int:
    """Return the width of a stroke, in pixels, of capitals `cap` pixels high."""
    return max(1, round(cap / CAP_PX * 1.2))


def columns(rows: Sequence[tuple[str, str, str]], cap: int) -> tuple[int, int]:
    """Measure where the second column starts and the whole ends, in pixels, with capitals `cap` pixels high."""

    def width(text: str) -> int:
        return int(cv2.getTextSize(text, FONT, cap / CAP_PX, thickness(cap))[0][0]) if text else 0

    second = max((width(first) for first, tab, _ in rows if tab), default=0) + 2 * cap
    return second, max(second + width(rest) if tab else width(first) for first, tab, rest in rows)
