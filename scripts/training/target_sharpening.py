"""Sharpen the pictures that a webcam network learns to make, without halos.

Real-ESRGAN (arXiv:2107.10833, section 3.4) sharpens its ground truth by an unsharp mask, which leaves halos. Here the
sharpened luma stays within the darkest and lightest neighbour that the truth has, so that edges become steeper instead
of being lined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.common.test_sets import LUMA_OF_BGR

Image = NDArray[np.uint8]

FEATHER_SIGMA_PX = 1.0
"""By how much the border between sharpened and untouched areas is blurred, in pixels of the large picture."""


@dataclass(frozen=True)
class TargetSharpening:
    """An unsharp mask of luma, in pixels of the large picture and in grey levels of 255."""

    amount: float
    sigma: float = 2.0
    """Standard deviation of the mask's Gaussian, in pixels."""
    threshold: float = 2.5
    """Differences from the Gaussian that are smaller are left alone: they are noise and the blocks of a codec."""
    reach: int = 2
    """The neighbours that bound the result are up to so many pixels away, along both axes."""
    margin: float = 0.0
    """How far the result may lie beyond them."""

    @classmethod
    def of(cls, values: dict[str, Any]) -> TargetSharpening:
        """Make one from a recipe's mapping. Raises TypeError for an unknown key."""
        return cls(**values)

    def __call__(self, picture: Image) -> Image:
        """Return `picture`, uint8 [H, W, 3] BGR, sharpened; its chroma is the same but where a value is clipped."""
        colours = picture.astype(np.float32)
        luma = cv2.transform(colours, LUMA_OF_BGR[None])
        mask = luma - cv2.GaussianBlur(luma, (0, 0), self.sigma)
        where = cv2.GaussianBlur((np.abs(mask) > self.threshold).astype(np.float32), (0, 0), FEATHER_SIGMA_PX)
        window = np.ones((2 * self.reach + 1, 2 * self.reach + 1), np.uint8)
        darkest, lightest = cv2.erode(luma, window) - self.margin, cv2.dilate(luma, window) + self.margin
        change = np.clip(luma + self.amount * where * mask, darkest, lightest) - luma
        return np.asarray(np.clip(np.round(colours + change[..., None]), 0, 255), np.uint8)
