"""Make sheets of crops: the same part of a picture, enlarged by several methods, side by side and labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from app.overlays.font import SHIPPED_FONT
from engines.base import Image
from engines.errors import UserError
from scripts.common.test_sets import luma

CROP_GAP_PX, LABEL_HEIGHT_PX = 4, 22
"""Pixels between crops, and of the label over each."""
LABEL_BACKGROUND, LABEL_COLOUR = (32, 32, 32), (240, 240, 240)


class CropError(UserError):
    """A sheet cannot be written."""


@dataclass(frozen=True)
class CropWindow:
    """The upper left corner of a window, and the mean in it of the amount that windows were chosen by."""

    y: int
    x: int
    mean: float

    def cut(self, image: Image, side: int) -> Image:
        """Return the `side` by `side` pixels of `image` at this place, as a view."""
        return image[self.y : self.y + side, self.x : self.x + side]


def best_windows(amount: NDArray[np.float64], side: int, count: int = 1) -> list[CropWindow]:
    """Return the `count` windows of `side` pixels with the most of `amount` in them, none overlapping another.

    `amount` is float64 [H, W].
    """
    # The value at a pixel is the mean over the window that begins there.
    means: NDArray[np.float64] = np.asarray(cv2.boxFilter(amount, -1, (side, side), anchor=(0, 0)))
    means = means[: amount.shape[0] - side + 1, : amount.shape[1] - side + 1].copy()
    found = []
    for _ in range(count):
        y, x = (int(n) for n in np.unravel_index(np.argmax(means), means.shape))
        found.append(CropWindow(y, x, float(means[y, x])))
        means[max(0, y - side + 1) : y + side, max(0, x - side + 1) : x + side] = -1
    return found


def most_different(first: Image, second: Image, side: int, count: int = 1) -> list[CropWindow]:
    """Return where two pictures of one size differ most, by the squared difference of their luma."""
    return best_windows((luma(first) - luma(second)) ** 2, side, count)


def labelled(crop: Image, text: str, zoom: int) -> Image:
    """Return `crop` with each pixel `zoom` times as large, under a strip with `text`."""
    large = crop.repeat(zoom, 0).repeat(zoom, 1)
    strip = Pillow.new("RGB", (large.shape[1], LABEL_HEIGHT_PX), LABEL_BACKGROUND)
    font = ImageFont.truetype(str(SHIPPED_FONT), 15)
    while font.getlength(text) > strip.width - 4:
        font = ImageFont.truetype(str(SHIPPED_FONT), int(font.size) - 1)
    ImageDraw.Draw(strip).text((3, LABEL_HEIGHT_PX // 2), text, fill=LABEL_COLOUR, font=font, anchor="lm")
    return np.vstack([np.asarray(strip, np.uint8), large])


def sheet(rows: Sequence[Sequence[tuple[str, Image]]], zoom: int) -> Image:
    """Return rows of labelled crops of one size, one below the other."""
    lines = []
    for row in rows:
        cells = [labelled(crop, text, zoom) for text, crop in row]
        lines.append(
            np.hstack([cv2.copyMakeBorder(each, 0, CROP_GAP_PX, 0, CROP_GAP_PX, cv2.BORDER_CONSTANT) for each in cells])
        )
    width = max(line.shape[1] for line in lines)
    whole = [cv2.copyMakeBorder(line, 0, 0, 0, width - line.shape[1], cv2.BORDER_CONSTANT) for line in lines]
    return np.asarray(np.vstack(whole)[:-CROP_GAP_PX, :-CROP_GAP_PX], np.uint8)


def write(image: Image, path: Path) -> None:
    """Write a JPEG of quality 90 with colour at full resolution. Raises CropError."""
    full = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full]
    done, data = cv2.imencode(".jpg", image, options)
    try:
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise CropError(f"{path} cannot be written", error.strerror or str(error), "Give another --out.") from None
    assert done
