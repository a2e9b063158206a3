"""Draws the demo's poster: text, lines, textures, colours and a landscape, none of it anybody else's work."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from app.sources.demo import textures
from engines.base import Image

Colour = tuple[int, int, int]
"""Blue, green, red."""

POSTER_WIDTH, POSTER_HEIGHT = 1920, 1080
"""The drawing's size in its own units, which the poster scales."""
MAX_POSTER_WIDTH_PX = 3840

PAPER, INK, GREY = (232, 240, 245), (52, 36, 26), (130, 120, 112)
NAVY, TEAL, CORAL, AMBER = (74, 44, 24), (140, 138, 36), (86, 102, 232), (72, 178, 242)
PATCHES: tuple[Colour, ...] = (
    (68, 82, 115), (130, 150, 194), (157, 122, 98), (67, 108, 87), (177, 128, 133), (170, 189, 103),
    (44, 126, 214), (166, 91, 80), (99, 90, 193), (108, 60, 94), (64, 188, 157), (46, 163, 224),
    (150, 61, 56), (73, 148, 70), (60, 54, 175), (31, 199, 231), (149, 86, 187), (161, 133, 8),
)  # fmt: skip
EYE_CHART_LINES = (
    "A poster drawn once, seen by a webcam:",
    "scaled down, with sensor noise, as JPEG.",
    "What it lost on the way comes back here.",
    "0123456789 - the quick brown fox jumps",
    "over the lazy dog; sphinx of black quartz,",
    "judge my vow. Pack my box with five dozen",
    "liquor jugs. How vexingly quick daft zebras",
    "jump! Bright vixens jump; dozy fowl quack. @#%&",
)


class Canvas:
    """A picture to draw on in units of POSTER_WIDTH x POSTER_HEIGHT, with smooth edges at a 16th of a pixel."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.image: Image = np.full((round(POSTER_HEIGHT * scale), round(POSTER_WIDTH * scale), 3), PAPER, np.uint8)

    def points(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        """Convert units into OpenCV's fixed-point pixels."""
        return np.asarray(np.rint((points * self.scale) * 16), np.float64).astype(np.int32)

    def polygon(self, points: NDArray[np.float64] | list[tuple[float, float]], colour: Colour) -> None:
        """Fill a polygon."""
        cv2.fillPoly(self.image, [self.points(np.asarray(points, np.float64))], colour, cv2.LINE_AA, 4)

    def box(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Fill a rectangle whose top left corner is at x, y."""
        self.polygon([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], colour)

    def line(self, points: NDArray[np.float64] | list[tuple[float, float]], colour: Colour, width: float) -> None:
        """Draw a stroke `width` units wide, at least one pixel."""
        path = self.points(np.asarray(points, np.float64))
        cv2.polylines(self.image, [path], False, colour, max(1, round(width * self.scale)), cv2.LINE_AA, 4)

    def disc(self, x: float, y: float, radius: float, colour: Colour) -> None:
        """Fill a circle around x, y."""
        centre, reach = self.points(np.array([x, y])), int(radius * self.scale * 16)
        cv2.circle(self.image, (int(centre[0]), int(centre[1])), reach, colour, -1, cv2.LINE_AA, 4)

    def text(
        self, x: float, y: float, cap: float, text: str, colour: Colour, *, bold: bool = False, fit: float = 1e9
    ) -> None:
        """Write `text` on the base line y, capitals about `cap` units high, or smaller to be no wider than `fit`."""
        font = cv2.FONT_HERSHEY_DUPLEX if bold else cv2.FONT_HERSHEY_SIMPLEX
        (_width, tall), _base = cv2.getTextSize("H", font, 10, 1)
        size = 10 * cap * self.scale / tall
        thick = max(1, round(cap * self.scale / (9 if bold else 12)))
        (width, _tall), _base = cv2.getTextSize(text, font, size, thick)
        size *= min(1.0, fit * self.scale / max(1, width))
        origin = (round(x * self.scale), round(y * self.scale))
        cv2.putText(self.image, text, origin, font, size, colour, thick, cv2.LINE_AA)

    def paste(self, x: float, y: float, picture: NDArray[np.floating[Any]]) -> None:
        """Paste a picture [h, w] or [h, w, 3] of 0..255, made for this scale, with its top left corner at x, y."""
        left, top = round(x * self.scale), round(y * self.scale)
        area = self.image[top : top + picture.shape[0], left : left + picture.shape[1]]
        area[:] = np.clip(picture, 0, 255).reshape(*picture.shape[:2], -1)[: area.shape[0], : area.shape[1]]


def draw_poster(width: int, height: int) -> Image:
    """Draw the poster for pictures of this size, uint8 [H, W, 3] BGR: up to three times as wide, always 16:9."""
    across = min(MAX_POSTER_WIDTH_PX, max(POSTER_WIDTH // 2, 3 * max(width, height * POSTER_WIDTH // POSTER_HEIGHT)))
    canvas = Canvas(across / POSTER_WIDTH)
    _title(canvas, 60, 60)
    _eye_chart(canvas, 60, 470)
    _landscape(canvas, 700, 60, 560, 380)
    _star(canvas, 850, 630, 150)
    _fan(canvas, 1050, 480, 210, 300)
    _zone_plate(canvas, 1320, 60, 540, 380)
    _weaves(canvas, 1320, 480)
    _colours(canvas, 700, 830)
    return canvas.image


def _title(canvas: Canvas, x: float, y: float) -> None:
    canvas.box(x, y, 580, 350, NAVY)
    canvas.box(x, y, 14, 350, CORAL)
    canvas.text(x + 50, y + 120, 64, "LIVE", PAPER, bold=True, fit=490)
    canvas.text(x + 50, y + 218, 64, "SUPER-", PAPER, bold=True, fit=490)
    canvas.text(x + 50, y + 316, 64, "RESOLUTION", AMBER, bold=True, fit=490)
    for i in range(24):  # a small sun of rays in the corner
        angle = math.pi * (0.5 + i / 46)
        c, s = math.cos(angle), math.sin(angle)
        ends = [(x + 570 + 40 * c, y + 10 + 40 * s), (x + 570 + 150 * c, y + 10 + 150 * s)]
        canvas.line(ends, (CORAL, AMBER, TEAL)[i % 3], 2)


def _eye_chart(canvas: Canvas, x: float, y: float) -> None:
    for i, line in enumerate(EYE_CHART_LINES):
        cap = 25 * 0.86**i
        y += cap * 1.15 + 12
        canvas.text(x, y, cap, line, INK, fit=580)
        y += cap * 0.55
    y += 18
    for i in range(5):  # bars of falling width, standing and lying
        pitch, left = 12 * 0.75**i, x + 118 * i
        for k in range(int(100 / pitch)):
            canvas.box(left + k * pitch, y, pitch / 2, 70, INK)
            if k * pitch < 60:
                canvas.box(left, y + 86 + k * pitch, 100, pitch / 2, TEAL)


def _landscape(canvas: Canvas, x: float, y: float, width: float, height: float) -> None:
    """Sky, sun, hills and water as smooth areas; over them a bridge of thin lines."""
    part = Canvas(canvas.scale)
    part.image = np.ascontiguousarray(textures.sky(round(width * canvas.scale), round(height * canvas.scale)))
    part.disc(width * 0.68, height * 0.36, 46, (190, 232, 255))
    along = np.linspace(0, width, 200)
    for k, colour in enumerate(((150, 108, 128), (122, 80, 92), (92, 58, 60))):
        ridge = height * (0.50 + 0.07 * k) - (34 - 6 * k) * (
            np.sin(along / (70 - 12 * k) + 2.1 * k) + 0.45 * np.sin(along / (23 - 3 * k) + k)
        )
        part.polygon([(0, height), *zip(along.tolist(), ridge.tolist(), strict=True), (width, height)], colour)
    part.box(0, height * 0.72, width, height * 0.28, (112, 84, 54))
    _ripples(part, width, height)
    _bridge(part, width, height * 0.74)
    canvas.paste(x, y, part.image.astype(np.float64))


def _ripples(part: Canvas, width: float, height: float) -> None:
    rng = np.random.default_rng(7)
    for y in np.arange(height * 0.735, height, 4.5).tolist():
        for left in np.arange(0, width, 40) + 40 * rng.random():
            near = abs(left - width * 0.66) < 60
            part.line([(left, y), (left + 10 + 22 * rng.random(), y)], (160, 190, 235) if near else (148, 118, 86), 1)


def _bridge(part: Canvas, width: float, deck: float) -> None:
    """A suspension bridge: towers, a deck, and hangers from cables that sag as parabolas."""
    towers, top = (width * 0.2, width * 0.8), deck - 150
    spans = ((towers[0] - (towers[1] - towers[0]), towers[0]), towers, (towers[1], 2 * towers[1] - towers[0]))
    for left, right in spans:
        along = np.linspace(left, right, 49)
        u = 2 * (along - left) / (right - left) - 1
        sag = top + (deck - 14 - top) * (1 - u * u)
        part.line(np.stack([along, sag], 1), (40, 28, 30), 3)
        for px, py in zip(along.tolist(), sag.tolist(), strict=True):
            part.line([(px, py), (px, deck)], (52, 40, 44), 1)
    for tower in towers:
        part.box(tower - 7, top - 10, 5, deck - top + 46, (40, 28, 30))
        part.box(tower + 2, top - 10, 5, deck - top + 46, (40, 28, 30))
        for k in range(6):
            part.line([(tower - 5, top + 28 * k), (tower + 5, top + 28 * k + 22)], (40, 28, 30), 2)
    part.box(-5, deck, width + 10, 6, (40, 28, 30))


def _star(canvas: Canvas, x: float, y: float, radius: float) -> None:
    """A Siemens star: 36 pairs of wedges, so that every radius is another line width."""
    canvas.disc(x, y, radius + 8, INK)
    canvas.disc(x, y, radius, (250, 252, 252))
    for i in range(36):
        a, b = 2 * math.pi * i / 36, 2 * math.pi * (i + 0.5) / 36
        rim = [(x + radius * math.cos(t), y + radius * math.sin(t)) for t in np.linspace(a, b, 5)]
        canvas.polygon([(x, y), *rim], INK)
    canvas.disc(x, y, 7, CORAL)


def _fan(canvas: Canvas, x: float, y: float, width: float, height: float) -> None:
    """Lines that converge downwards, with a scale beside them."""
    for i in range(17):
        side = (i - 8) / 8
        top, bottom = x + width / 2 + side * 95, x + width / 2 + side * 17
        half = 2.9
        canvas.polygon(
            [(top - half, y), (top + half, y), (bottom + 0.55, y + height), (bottom - 0.55, y + height)], INK
        )
    for k in range(9):
        level = y + height * k / 8
        canvas.line([(x - 6, level), (x + 10 + 6 * k, level)], CORAL, 1.5)
        canvas.text(x - 34, level + 6, 11, str(k + 1), INK)


def _zone_plate(canvas: Canvas, x: float, y: float, width: float, height: float) -> None:
    canvas.box(x - 6, y - 6, width + 12, height + 12, INK)
    canvas.paste(x, y, textures.zone_plate(round(width * canvas.scale), round(height * canvas.scale)))


def _weaves(canvas: Canvas, x: float, y: float) -> None:
    """Six woven and printed fabrics with their names."""
    for i, (name, texture) in enumerate(textures.TEXTURES.items()):
        left, top = x + 186 * (i % 3), y + 162 * (i // 3)
        canvas.paste(left, top, texture(round(168 * canvas.scale), round(122 * canvas.scale), canvas.scale))
        canvas.text(left, top + 144, 12, name, GREY)


def _colours(canvas: Canvas, x: float, y: float) -> None:
    """Patches, two ramps and the smallest text."""
    for i, colour in enumerate(PATCHES):
        canvas.box(x + 64.4 * i, y, 58, 58, colour)
    ramp = np.linspace(0, 255, round(1160 * canvas.scale))[None, :].repeat(round(26 * canvas.scale), 0)
    canvas.paste(x, y + 76, ramp)
    canvas.paste(x, y + 108, textures.spectrum(ramp.shape[1], ramp.shape[0]))
    small = "every line, dot and letter on this poster was drawn by the program that shows it"
    for i, cap in enumerate((13.0, 10.5, 8.5)):
        canvas.text(x, y + 160 + 24 * i, cap, f"{small} / {cap:g} units", INK, fit=680)
        canvas.text(x + 700, y + 160 + 24 * i, cap, "ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklm", TEAL, fit=450)
