"""The crops of docs/quality.md. Windows are found by rule, so that nobody picks what flatters."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from engines.base import Image
from scripts.common.test_sets import luma, psnr
from scripts.evaluation import upscalers
from scripts.evaluation.flicker import Clip, luma_range
from scripts.evaluation.measure import PictureSet
from scripts.evaluation.upscalers import Run
from scripts.reporting import crop_sheets

SHOWN_PICTURES = ("img_013", "img_005", "img_014")
"""Of Set14: lettering, ornaments, stripes. Of a set without them the first three."""
CROP_SIDE_PX = {2: 64, 3: 72, 4: 96}
"""Pixels of the large picture along a side of a crop, by scale."""
MOTION_LEVELS = 25.0
"""Grey levels by which low-passed luma has to change within a window for something to have moved there."""
CROP_ZOOM = {2: 3, 3: 3, 4: 2}

Columns = Sequence[tuple[str, Run]]
"""What is compared: the label, and how it enlarges. The first is what windows are judged by."""


def nearest(scale: int) -> Run:
    """Return a method that repeats pixels."""

    def run(image: Image) -> Image:
        return image.repeat(scale, 0).repeat(scale, 1)

    return run


def shown_pairs(pictures: PictureSet) -> list[tuple[str, Image, Image]]:
    """Return the pairs of SHOWN_PICTURES, or the first three of a set that has none of these."""
    chosen = [pair for name in SHOWN_PICTURES for pair in pictures.pairs if pair[0].startswith(name)]
    return chosen or list(pictures.pairs[:3])


def against_truth(pictures: PictureSet, columns: Columns) -> Image:
    """Return a sheet with a row for each picture: the input's pixels, `columns`, the truth.

    Each row shows the window in which bicubic is furthest from the truth; the PSNR over each crop is that of the whole
    picture.
    """
    scale = pictures.scale
    side, rows = CROP_SIDE_PX[scale], []
    for _, low, high in shown_pairs(pictures):
        plain = upscalers.bicubic(scale)(low)
        truth = high[: plain.shape[0], : plain.shape[1]]
        place = crop_sheets.most_different(plain, truth, side)[0]
        row = [("input", place.cut(nearest(scale)(low), side))]
        for label, run in columns:
            large = run(low)
            row.append((f"{label} {psnr(large, truth, border=scale):.2f} dB", place.cut(large, side)))
        rows.append([*row, ("truth", place.cut(truth, side))])
    return crop_sheets.sheet(rows, CROP_ZOOM[scale])


def of_clips(clips: Sequence[Clip], columns: Columns, side: int = 144) -> Image:
    """Return a sheet with two rows for each clip, from the middle of its first window.

    One shows where what moves (people) has most detail, the other where the first and the last column differ most.
    """
    rows = []
    for clip in clips:
        window = clip.windows[0]
        frame = window.frames[len(window.frames) // 2]
        large = [run(frame) for _, run in columns]
        plane = luma(large[0])
        moves = (luma_range(window.frames) > MOTION_LEVELS).astype(np.float64)
        moving = np.asarray(cv2.resize(moves, plane.shape[::-1], interpolation=cv2.INTER_NEAREST), np.float64)
        detail = (plane - cv2.GaussianBlur(plane, (0, 0), 2)) ** 2 * moving
        for place in crop_sheets.best_windows(detail, side) + crop_sheets.most_different(large[0], large[-1], side):
            labels = (f"{clip.name}: {label}" for label, _ in columns)
            rows.append([(label, place.cut(image, side)) for label, image in zip(labels, large, strict=True)])
    return crop_sheets.sheet(rows, 2)
