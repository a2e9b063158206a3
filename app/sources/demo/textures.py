"""Woven and printed patterns for the demo's poster: functions of the place alone, 0..255, [H, W] or [H, W, 3]."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.base import Image

Field = NDArray[np.float64]
SUPERSAMPLING = 3
"""Hard-edged patterns are drawn this much finer and averaged, so that their edges come out smooth."""


def _grid(width: int, height: int, scale: float) -> tuple[Field, Field]:
    """Return the x and y of each point in units, at SUPERSAMPLING times the size."""
    y, x = np.mgrid[: height * SUPERSAMPLING, : width * SUPERSAMPLING] / (SUPERSAMPLING * scale)
    return x, y


def _mix_colours(mask: NDArray[np.bool_] | Field, dark: tuple[int, int, int], light: tuple[int, int, int]) -> Field:
    """Turn `mask`, 0..1, into a mixture of two colours, averaged to the final size."""
    height, width = mask.shape[0] // SUPERSAMPLING, mask.shape[1] // SUPERSAMPLING
    small = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)[..., None]
    return np.asarray(np.array(dark) + small * (np.array(light) - np.array(dark)), np.float64)


def houndstooth(width: int, height: int, scale: float) -> Field:
    """Two by two threads over two of the other colour, the weave of the name."""
    x, y = _grid(width, height, scale)
    warp, weft = np.floor(x / 3).astype(int), np.floor(y / 3).astype(int)
    above = (warp + weft) % 4 < 2
    return _mix_colours(np.where(above, warp % 8 < 4, weft % 8 < 4), (40, 34, 30), (236, 240, 242))


def herringbone(width: int, height: int, scale: float) -> Field:
    """A twill that is mirrored every 14 units."""
    x, y = _grid(width, height, scale)
    fold = np.abs(x % 28 - 14)
    return _mix_colours((fold + y) % 6 < 3, (104, 92, 52), (214, 224, 208))


def linen(width: int, height: int, scale: float) -> Field:
    """A plain weave with round threads of uneven strength."""
    x, y = _grid(width, height, scale)
    warp, weft = np.floor(x / 4).astype(int), np.floor(y / 4).astype(int)
    over = (warp + weft) % 2 == 0
    thread = np.where(over, np.sin(np.pi * (x % 4) / 4), np.sin(np.pi * (y % 4) / 4))
    uneven = np.random.default_rng(3).uniform(0.7, 1.0, 4096)
    strength = np.where(over, uneven[warp % 4096], uneven[-weft % 4096])
    return _mix_colours(thread * strength, (50, 84, 120), (178, 216, 240))


def tartan(width: int, height: int, scale: float) -> Field:
    """A two-by-two twill of coloured stripes, the same along and across."""
    x, y = _grid(width, height, scale)
    sett = np.array([0, 0, 0, 0, 1, 1, 2, 1, 1, 0, 0, 3, 0, 0, 0, 0])
    dyes = np.array([(60, 50, 150), (48, 70, 24), (90, 210, 235), (230, 232, 236)], np.float32)
    across, down = sett[np.floor(x / 5.5).astype(int) % 16], sett[np.floor(y / 5.5).astype(int) % 16]
    cloth = dyes[np.where((x + y) % 4 < 2, across, down)]
    return np.asarray(cv2.resize(cloth, (width, height), interpolation=cv2.INTER_AREA), np.float64)


def halftone(width: int, height: int, scale: float) -> Field:
    """Dots on a turned grid that grow from left to right."""
    x, y = _grid(width, height, scale)
    u, v = (x + y) / 1.414, (y - x) / 1.414
    dots = np.cos(2 * np.pi * u / 6.5) + np.cos(2 * np.pi * v / 6.5)
    return _mix_colours(dots < 1.6 - 3.0 * x / np.max(x), (80, 62, 200), (240, 244, 248))


def hatching(width: int, height: int, scale: float) -> Field:
    """An engraver's crossed lines, closer and thicker towards the shade of a ball."""
    x, y = _grid(width, height, scale)
    u, v = x / np.max(x) * 2 - 1, (y / np.max(y) * 2 - 1) * height / width
    shade = np.clip(0.15 + 0.75 * np.hypot(u + 0.25, v + 0.25), 0, 0.92)
    lines = np.minimum(np.abs((x + y) % 5 / 2.5 - 1), np.abs((x - y) % 5 / 2.5 - 1) + 1 - shade)
    return _mix_colours(lines > shade * 0.75, (58, 40, 28), (226, 238, 244))


TEXTURES: dict[str, Callable[[int, int, float], Field]] = {
    "houndstooth": houndstooth,
    "herringbone": herringbone,
    "linen": linen,
    "tartan": tartan,
    "halftone": halftone,
    "hatching": hatching,
}


def zone_plate(width: int, height: int) -> Field:
    """Rings whose spacing falls to about 2.6 pixels in the corners: cos of the squared radius."""
    y, x = np.mgrid[:height, :width]
    squared = (x - width / 2) ** 2 + (y - height / 2) ** 2
    longest = (width**2 + height**2) ** 0.5 / 2
    return np.asarray(127.5 + 118 * np.cos(np.pi * squared / (2.6 * longest)), np.float64)


def sky(width: int, height: int) -> Image:
    """An evening sky, from violet above to amber at the horizon."""
    levels = np.array([(120, 66, 72), (150, 96, 150), (120, 140, 226), (110, 190, 250)], np.float64)
    at = np.linspace(0, len(levels) - 1, round(height * 0.75))
    rows = np.stack([np.interp(at, range(len(levels)), levels[:, c]) for c in range(3)], 1)
    rows = np.concatenate([rows, np.repeat(rows[-1:], height - len(rows), 0)])
    return rows[:, None].repeat(width, 1).astype(np.uint8)


def spectrum(width: int, height: int) -> Field:
    """All hues from left to right, full above and pale below."""
    hue, value = np.linspace(0, 179, width), np.linspace(235, 60, height)
    hsv = np.stack(np.broadcast_arrays(hue[None, :], value[:, None], 230.0), 2).astype(np.uint8)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.float64)
