"""Measuring how much a picture of a still scene changes from frame to frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import engines
from app.sources import open_source
from engines.base import Image
from engines.errors import UserError
from engines.request import EngineRequest
from scripts.common.test_sets import LUMA_WEIGHTS
from scripts.evaluation.upscalers import Run, upscale_one

FLICKER_FRAMES = 30


LOW_PASS_SIGMA = 3.0


STILL_LEVELS = 2.0


BORDER_PX = 8


MIN_STATIC_SHARE = 0.01
"""The share of a picture that has to be static for a window to count."""


DEFAULT_WINDOWS = 3


Mask = NDArray[np.bool_]


class FlickerError(UserError):
    """Flicker cannot be measured on this clip."""


def luma(image: Image) -> NDArray[np.float32]:
    """Return the luma of test_sets.luma() in fp32, which is fast and exact enough: float32 [H, W]."""
    weights = np.array([[*LUMA_WEIGHTS, 16 * 255]], np.float32) / 255
    return np.asarray(cv2.transform(image.astype(np.float32), weights), np.float32)


def luma_range(frames: list[Image]) -> NDArray[np.float32]:
    """Return how many grey levels low-passed luma goes up and down over `frames`: float32 [H, W]."""
    low = [cv2.GaussianBlur(luma(frame), (0, 0), LOW_PASS_SIGMA) for frame in frames]
    return np.asarray(np.max(low, axis=0) - np.min(low, axis=0), np.float32)


def static_mask(frames: list[Image]) -> Mask:
    """Return where nothing moves over `frames`: bool [H, W]."""
    still = (luma_range(frames) < STILL_LEVELS).astype(np.uint8)
    around = np.ones((2 * BORDER_PX + 1, 2 * BORDER_PX + 1), np.uint8)
    # What lies outside the picture is not known to be still.
    return np.asarray(cv2.erode(still, around, borderType=cv2.BORDER_CONSTANT, borderValue=0), bool)


@dataclass(frozen=True)
class FlickerWindow:
    """Frames of a clip, and the mask of where they are static."""

    frames: list[Image]
    mask: Mask


class Clip:
    """The first windows of a film that have static regions."""

    def __init__(self, path: Path, windows: int = DEFAULT_WINDOWS) -> None:
        """Raises FlickerError if there is no static window, SourceError if `path` is no film."""
        self.name = path.stem
        frames = list(read(path, windows * FLICKER_FRAMES))
        parts = [frames[i : i + FLICKER_FRAMES] for i in range(0, len(frames) - FLICKER_FRAMES + 1, FLICKER_FRAMES)]
        found = [FlickerWindow(part, static_mask(part)) for part in parts]
        self.windows = [window for window in found if window.mask.mean() >= MIN_STATIC_SHARE]
        if not self.windows:
            raise FlickerError(
                f"Nothing stands still in {path}",
                f"{len(frames)} frames were read; needed are {FLICKER_FRAMES} in which {MIN_STATIC_SHARE:.0%} of the "
                "picture is static",
                "Give a film from a camera that does not move.",
            )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the film in pixels."""
        height, width = self.windows[0].mask.shape
        return width, height

    @property
    def share(self) -> float:
        """The share of the picture that is static, over all windows."""
        return float(np.mean([window.mask.mean() for window in self.windows]))

    def flicker(self, run: Run) -> float:
        """Return the flicker of what `run` makes of the clip, in grey levels."""
        means = [deviation(map(run, window.frames), window.mask) for window in self.windows]
        pixels = [float(window.mask.sum()) for window in self.windows]
        return float(np.average(means, weights=pixels))

    def flicker_of(self, model: str, engine: str = "openvino") -> tuple[float, str]:
        """Return the flicker of a model in grey levels, and the precision that `engine` chose for it.

        Raises EngineError.
        """
        with engines.load(EngineRequest(engine, model, self.size, depth=2)) as loaded:
            return self.flicker(lambda image: upscale_one(loaded, image)), loaded.spec.precision


def read(path: Path, count: int) -> Iterator[Image]:
    """Yield copies of the first `count` frames of a film. Raises SourceError."""
    source = open_source(camera=None, source=str(path), size=None, fps=None, loop=False)
    try:
        for _, frame in zip(range(count), source, strict=False):
            yield frame.image.copy()
            frame.release()
    finally:
        source.close()


def deviation(images: Iterator[Image], mask: Mask) -> float:
    """Return the standard deviation of luma over `images` at each static pixel, averaged over these.

    The images may be larger than `mask` by a whole factor.
    """
    image = next(images)
    height, width = image.shape[:2]
    inside = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
    first = luma(image)[inside]
    # Squares of differences from the first: those of grey levels would leave fp32 nothing of a small variance.
    total, squares, count = np.zeros_like(first), np.zeros_like(first), 1
    for image in images:
        change = luma(image)[inside] - first
        total += change
        squares += change * change
        count += 1
    variance = squares / count - (total / count) ** 2
    return float(np.sqrt(np.maximum(variance, 0)).mean())
