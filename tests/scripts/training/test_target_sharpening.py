"""Sharpened targets: steeper edges, no halos, nothing made of noise."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.common.test_sets import LUMA_OF_BGR
from scripts.training.target_sharpening import TargetSharpening

Image = NDArray[np.uint8]


def soft_edge() -> Image:
    """Return a vertical edge from 60 to 180 that a lens has blurred."""
    step = np.full((40, 60, 3), 60, np.float32)
    step[:, 30:] = 180
    return np.round(cv2.GaussianBlur(step, (0, 0), 2)).astype(np.uint8)


def steepest(picture: Image) -> int:
    return int(np.diff(picture[20, :, 1].astype(int)).max())


def test_an_edge_becomes_steeper_and_gets_no_halo() -> None:
    soft = soft_edge()
    sharp = TargetSharpening(amount=2)(soft)
    assert steepest(sharp) > 1.3 * steepest(soft)
    window = np.ones((5, 5), np.uint8)
    assert (sharp >= cv2.erode(soft, window)).all() and (sharp <= cv2.dilate(soft, window)).all()
    assert sharp.min() == 60 and sharp.max() == 180


def test_a_margin_allows_as_much_of_a_halo_and_no_more() -> None:
    sharp = TargetSharpening(amount=2, margin=8)(soft_edge())
    assert 60 - 8 <= sharp.min() < 60 and 180 < sharp.max() <= 180 + 8


def test_what_is_fainter_than_the_threshold_stays() -> None:
    faint = np.random.default_rng(1).integers(99, 102, (40, 60, 3)).astype(np.uint8)
    assert (TargetSharpening(amount=3)(faint) == faint).all()
    assert (TargetSharpening(amount=3, threshold=0.1, margin=20)(faint) != faint).any()


def test_colours_are_not_sharpened() -> None:
    soft = soft_edge()
    soft[..., 0] //= 2
    soft[..., 2] = 90
    sharp = TargetSharpening(amount=1.5)(soft)
    assert (sharp != soft).any()
    chroma, before = (
        p.astype(int) - cv2.transform(p.astype(np.float32), LUMA_OF_BGR[None])[..., None] for p in (sharp, soft)
    )
    assert np.abs(chroma - before).max() <= 1  # bytes are rounded
