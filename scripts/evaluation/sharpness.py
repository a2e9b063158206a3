"""Measuring how much sharper than bicubic a film looks, and what that costs: halos, flicker."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

import engines
from engines.base import Image
from engines.errors import UserError
from engines.request import EngineRequest
from scripts.common.test_sets import LUMA_OF_BGR
from scripts.evaluation.flicker import read
from scripts.evaluation.upscalers import upscale_one

Plane = NDArray[np.float32]
"""Luma of a picture in grey levels: float32 [H, W]."""

FIRST_FRAME, FRAME_COUNT = 20, 24
"""The part of a film that is looked at: a camera has found its exposure by then."""
STEEPEST_SHARE = 0.05
"""The share of pixels, those where bicubic is steepest, that count as edges."""
CALM_SHARE = 0.3
"""The share of pixels, those where bicubic changes least from frame to frame, on which flicker is measured."""
HALO_WINDOW_PX, HALO_MARGIN = 9, 6.0
"""A halo is brighter or darker than all that bicubic has in so many pixels a side, by more than so many grey levels."""
TIGHT_WINDOW_PX = 5
"""The window of the stricter count, which has no margin: no clamp to the looser one can flatter it."""
UNSHARP_SIGMA_PX = 2.0
"""Of the unsharp mask that bicubic gets to have the same edges: twice the scale's half, as for soft webcams."""
MAX_UNSHARP_AMOUNT = 16.0


class SharpnessError(UserError):
    """Sharpness cannot be measured on this film."""


@dataclass(frozen=True)
class Sharpness:
    """What was measured of one upscaler on one film."""

    edge: float
    """Mean gradient on the edges, as a multiple of bicubic's."""
    overshoot: float
    """Share of pixels with a halo, 0..1."""
    tight_overshoot: float
    """Share of pixels beyond what bicubic has in TIGHT_WINDOW_PX, 0..1."""
    flicker: float
    """Temporal standard deviation where the picture is calm, as a multiple of bicubic's."""
    change: float
    """Mean absolute difference from bicubic in grey levels; below about 1 nobody sees it."""


class SharpnessFilm:
    """Frames of a film, and what bicubic makes of them at `scale` times the size."""

    def __init__(self, path: Path, scale: int) -> None:
        """Raises SharpnessError if the film is too short, SourceError if `path` is no film."""
        self.name, self.scale = path.stem, scale
        frames = list(read(path, FIRST_FRAME + FRAME_COUNT))
        self.frames = frames[FIRST_FRAME:]
        if len(self.frames) < 2:
            raise SharpnessError(
                f"{path} is too short",
                f"it has {len(frames)} frames; those from number {FIRST_FRAME} on are measured",
                f"Give a film of at least {FIRST_FRAME + FRAME_COUNT} frames.",
            )
        self.bicubic = [luma(self._enlarged(frame)) for frame in self.frames]
        edges = [gradient(plane) for plane in self.bicubic]
        self._edges = [steepness > np.percentile(steepness, 100 * (1 - STEEPEST_SHARE)) for steepness in edges]
        self._steepness = mean_over(edges, self._edges)
        deviation = np.std(np.stack(self.bicubic), 0)
        self._calm = deviation < np.percentile(deviation, 100 * CALM_SHARE)
        self._restlessness = float(deviation[self._calm].mean())

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the film in pixels."""
        height, width = self.frames[0].shape[:2]
        return width, height

    def _enlarged(self, frame: Image) -> Image:
        size = self.size[0] * self.scale, self.size[1] * self.scale
        return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), np.uint8)

    @cached_property
    def _halo_bounds(self) -> list[tuple[Plane, Plane]]:
        return [bounds(plane, HALO_WINDOW_PX, HALO_MARGIN) for plane in self.bicubic]

    @cached_property
    def _tight_bounds(self) -> list[tuple[Plane, Plane]]:
        rounding = 0.5  # results are bytes: half a level is no overshoot
        return [bounds(plane, TIGHT_WINDOW_PX, rounding) for plane in self.bicubic]

    def edge(self, planes: list[Plane]) -> float:
        """Return how steep the edges of the planes, one for each frame, are as a multiple of bicubic's."""
        return mean_over([gradient(plane) for plane in planes], self._edges) / self._steepness

    def measure(self, planes: list[Plane]) -> Sharpness:
        """Measure the luma of an upscaler's pictures, one for each frame, as large as bicubic's."""
        deviation = np.std(np.stack(planes), 0)[self._calm]
        return Sharpness(
            edge=self.edge(planes),
            overshoot=share_beyond(planes, self._halo_bounds),
            tight_overshoot=share_beyond(planes, self._tight_bounds),
            flicker=float(deviation.mean()) / max(self._restlessness, 1e-6),
            change=float(np.mean([np.abs(a - b).mean() for a, b in zip(planes, self.bicubic, strict=True)])),
        )

    def unsharp(self, edge: float) -> list[Plane]:
        """Return bicubic with the unsharp mask that makes its edges as steep as `edge` times bicubic's."""
        least, most = 0.0, MAX_UNSHARP_AMOUNT
        for _ in range(12):  # steepness grows with the amount: halving finds it to 4 in 1000
            amount = (least + most) / 2
            planes = [unsharp_mask(plane, amount) for plane in self.bicubic]
            least, most = (amount, most) if self.edge(planes) < edge else (least, amount)
        return planes

    def of_model(self, model: str, engine: str = "openvino") -> tuple[Sharpness, list[Plane], str]:
        """Return what was measured of a model, its luma, and the precision that `engine` chose for it.

        Raises EngineError, SharpnessError if the model has another scale.
        """
        with engines.load(EngineRequest(engine, model, self.size, scale=self.scale, depth=2)) as loaded:
            planes = [luma(upscale_one(loaded, frame)) for frame in self.frames]
            return self.measure(planes), planes, loaded.spec.precision


def luma(image: Image) -> Plane:
    """Return BT.601 luma, full range, of a BGR picture."""
    return np.asarray(cv2.transform(image.astype(np.float32), LUMA_OF_BGR[None]))


def gradient(plane: Plane) -> Plane:
    """Return how many grey levels a plane rises for each pixel: Sobel's operator."""
    across, down = (cv2.Sobel(plane, cv2.CV_32F, x, 1 - x, ksize=3) for x in (1, 0))
    return np.asarray(np.hypot(across, down) / 8, np.float32)


def bounds(plane: Plane, window_px: int, margin: float) -> tuple[Plane, Plane]:
    """Return the darkest and the lightest value around each pixel, moved apart by `margin`."""
    window = np.ones((window_px, window_px), np.uint8)
    return np.asarray(cv2.erode(plane, window)) - margin, np.asarray(cv2.dilate(plane, window)) + margin


def unsharp_mask(plane: Plane, amount: float) -> Plane:
    """Return a plane with an unsharp mask, as bytes would hold it."""
    sharp = plane + amount * (plane - cv2.GaussianBlur(plane, (0, 0), UNSHARP_SIGMA_PX))
    return np.asarray(np.clip(sharp, 0, 255), np.float32)


def mean_over(planes: list[Plane], masks: list[NDArray[np.bool_]]) -> float:
    """Return the mean over frames of the mean of each plane inside its mask."""
    return float(np.mean([plane[mask].mean() for plane, mask in zip(planes, masks, strict=True)]))


def share_beyond(planes: list[Plane], limits: list[tuple[Plane, Plane]]) -> float:
    """Return the share of pixels that are below the lower or above the upper of their limits."""
    pairs = zip(planes, limits, strict=True)
    return float(np.mean([((plane < low) | (plane > high)).mean() for plane, (low, high) in pairs]))
