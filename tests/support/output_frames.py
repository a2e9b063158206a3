"""Frames as overlays get them: a source picture and the enlarged one that is drawn on."""

from __future__ import annotations

import numpy as np

from app.pipeline.frame import Frame, Origin, OutputFrame
from engines.base import Image
from engines.bicubic import enlarge


def output_frame(source: Image, *, origin: Origin = Origin.LIVE, level: int | None = None) -> OutputFrame:
    height, width = source.shape[:2]
    image = np.empty((2 * height, 2 * width, 3), np.uint8)
    enlarge(source, image) if level is None else image.fill(level)
    return OutputFrame(image, Frame(source, 0, 0, 0, origin=origin))


def flat(level: int = 120) -> Image:
    return np.full((360, 640, 3), level, np.uint8)
