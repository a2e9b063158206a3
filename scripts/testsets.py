"""Super-resolution test sets on disk, and the one figure everybody quotes for them.

Layout, as published by Huang et al. (SelfExSR, CVPR 2015): `<set>/x<scale>/<name>_SRF_<scale>_{LR,HR}.png`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def pairs(folder: Path, scale: int) -> Iterator[tuple[str, Image, Image]]:
    """Name, low and high resolution picture (uint8 [H, W, 3] BGR) of every pair for `scale` in `folder`."""
    for low in sorted((folder / f"x{scale}").glob(f"*_SRF_{scale}_LR.png")):
        high = low.with_name(low.name.replace("_LR.png", "_HR.png"))
        yield low.stem, read(low), read(high)


def read(path: Path) -> Image:
    """A picture as uint8 [H, W, 3] BGR. Raises FileNotFoundError if it is missing or no picture."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(f"{path} is missing or not a picture OpenCV can read")
    return np.asarray(image, np.uint8)


def luma(image: Image) -> NDArray[np.float64]:
    """BT.601 luma in 16..235, float64 [H, W] (ITU-R BT.601-7, 2.5; MATLAB's rgb2ycbcr), of uint8 BGR."""
    y: NDArray[np.float64] = image.astype(np.float64) @ np.array([24.966, 128.553, 65.481]) / 255 + 16
    return y


def psnr(image: Image, truth: Image, *, border: int) -> float:
    """PSNR in dB of luma, `border` pixels cut from each side; infinite for equal pictures."""
    cut = (slice(border, -border),) * 2 if border else ()
    error = np.mean((luma(image)[cut] - luma(truth)[cut]) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
