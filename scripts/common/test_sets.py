"""Super-resolution test sets on disk, and the two figures that are usually quoted for them.

Layout, as published by Huang et al. (SelfExSR, CVPR 2015): `<set>/x<scale>/<name>_SRF_<scale>_{LR,HR}.png`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.errors import UserError

Image = NDArray[np.uint8]

LUMA_WEIGHTS = (24.966, 128.553, 65.481)
"""Of blue, green and red in luma, for 1.0 each (ITU-R BT.601-7, 2.5)."""
LUMA_OF_BGR = np.array([0.114, 0.587, 0.299], np.float32)
"""The same for luma that uses the full range, 0..255 (ITU-R BT.601-7, 2.5.1)."""


class TestSetError(UserError):
    """A figure cannot be computed."""

    __test__ = False  # pytest takes every class of this name for a test


def pairs(folder: Path, scale: int) -> Iterator[tuple[str, Image, Image]]:
    """Yield name, low and high resolution picture (uint8 [H, W, 3] BGR) of every pair for `scale` in `folder`."""
    for low in sorted((folder / f"x{scale}").glob(f"*_SRF_{scale}_LR.png")):
        high = low.with_name(low.name.replace("_LR.png", "_HR.png"))
        yield low.stem, read(low), read(high)


def check(folders: Sequence[Path], scale: int) -> None:
    """Check the sets before hours of other work, after which they are measured on.

    Raises TestSetError if one of them has nothing to measure at `scale`, FileNotFoundError for half a pair.
    """
    for folder in folders:
        if not sum(1 for _ in pairs(folder, scale)):
            raise TestSetError(
                f"{folder} is no test set for x{scale}",
                f"there is no {folder / f'x{scale}' / f'NAME_SRF_{scale}_LR.png'}",
                "Give a folder such as Set5, laid out as scripts/common/test_sets.py says.",
            )
    if len({folder.name for folder in folders}) < len(folders):
        raise TestSetError("Two test sets have one name", ", ".join(map(str, folders)), "Rename one of them.")


def read(path: Path) -> Image:
    """Return a picture as uint8 [H, W, 3] BGR. Raises FileNotFoundError if it is missing or no picture."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(f"{path} is missing or not a picture OpenCV can read")
    return np.asarray(image, np.uint8)


def luma(image: Image) -> NDArray[np.float64]:
    """Return BT.601 luma in 16..235 of uint8 BGR, float64 [H, W] (ITU-R BT.601-7, 2.5; MATLAB's rgb2ycbcr)."""
    y: NDArray[np.float64] = image.astype(np.float64) @ np.array(LUMA_WEIGHTS) / 255 + 16
    return y


def inner(plane: NDArray[np.float64], border: int) -> NDArray[np.float64]:
    """Return `plane` without `border` pixels on each side."""
    return plane[border : plane.shape[0] - border, border : plane.shape[1] - border]


def psnr(image: Image, truth: Image, *, border: int) -> float:
    """Return the PSNR in dB of luma, `border` pixels cut from each side; infinite for equal pictures."""
    error = np.mean((inner(luma(image), border) - inner(luma(truth), border)) ** 2)
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(image: Image, truth: Image, *, border: int) -> float:
    """Return the structural similarity of luma, at most 1, `border` pixels cut from each side.

    As defined by Wang et al., IEEE TIP 13(4), 2004: a Gaussian window of 11x11 and sigma 1.5, K1 0.01, K2 0.03, range
    255, averaged where the whole window lies inside. Raises TestSetError if scikit-image is missing or the picture is
    smaller than the window.
    """
    try:
        from skimage.metrics import structural_similarity
    except ModuleNotFoundError as error:
        raise TestSetError("SSIM needs scikit-image", str(error), "pip install -e '.[quality]'") from None
    planes = [inner(luma(picture), border) for picture in (image, truth)]
    if min(planes[1].shape) < 11:
        raise TestSetError(f"A picture of {truth.shape[1]}x{truth.shape[0]} is too small for SSIM", f"border {border}")
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return float(structural_similarity(*planes, **options))  # type: ignore[no-untyped-call]
