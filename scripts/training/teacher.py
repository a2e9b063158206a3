"""A finished network that another one learns from."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scripts.common.network import UpscalingNetwork

STRIP_ROWS = 100
"""Rows at a time: those of a whole photograph would not stay in a processor's cache."""


class Teacher:
    """Enlarges a picture in all eight positions, turned and mirrored, and returns the mean of the eight.

    That is worth a tenth of a decibel and more at eight times the cost (self-ensemble: Timofte, Rothe, Van Gool, Seven
    ways to improve example-based single image super resolution, CVPR 2016), which its pupil gets part of for nothing.
    """

    def __init__(self, network: UpscalingNetwork, device: str) -> None:
        self._network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._device = device
        self._reach = sum(isinstance(module, nn.Conv2d) for module in network.modules())
        """Rows that a row may depend on, at most, on either side."""

    def __call__(self, low: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return uint8 [s * H, s * W, 3] for uint8 [H, W, 3] BGR."""
        picture = torch.from_numpy(low.copy()).to(self._device).permute(2, 0, 1)[None].float() / 255
        backs = []
        for turn in range(4):
            seen = torch.rot90(picture, turn, (2, 3))
            for mirrored in (False, True):
                large = self._enlarged(seen.flip(3)).flip(3) if mirrored else self._enlarged(seen)
                backs.append(torch.rot90(large, -turn, (2, 3)))
        mean = torch.stack(backs).mean(0) * 255
        return mean.round().clamp(0, 255).byte()[0].permute(1, 2, 0).cpu().numpy()

    def _enlarged(self, picture: Tensor) -> Tensor:
        """Return float32 [1, 3, s * H, s * W] in 0..1."""
        height, scale, parts = picture.shape[2], self._network.scale, []
        with torch.inference_mode(), torch.autocast(self._device.split(":")[0], torch.bfloat16):
            for top in range(0, height, STRIP_ROWS):
                begin, bottom = max(0, top - self._reach), min(height, top + STRIP_ROWS)
                part = self._network(picture[:, :, begin : bottom + self._reach])
                parts.append(part[:, :, scale * (top - begin) : scale * (bottom - begin)])
            return torch.cat(parts, 2).float()
