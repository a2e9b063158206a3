"""Teacher: a finished network from which another one learns."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from scripts.network import Upscaler

STRIP = 100
"""Rows at a time: those of a whole photograph would not stay in a processor's cache."""


class Teacher:
    """Looks at a picture in all eight positions, turned and mirrored; what it makes is the mean of the eight.

    That is worth a tenth of a decibel and more at eight times the cost (self-ensemble: Timofte, Rothe, Van Gool, Seven
    ways to improve example-based single image super resolution, CVPR 2016), which its pupil gets part of for nothing.
    """

    def __init__(self, network: Upscaler, device: str) -> None:
        self._network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self._device = device
        self._reach = sum(isinstance(module, nn.Conv2d) for module in network.modules())
        """Rows that a row may depend on, at most, on either side."""

    def __call__(self, low: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] BGR, enlarged to uint8 [s * H, s * W, 3]."""
        backs = []
        for turn in range(4):
            for mirrored in (False, True):
                seen = np.rot90(low, turn)
                made = self._made(seen[:, ::-1] if mirrored else seen)
                backs.append(np.rot90(made[:, ::-1] if mirrored else made, -turn))
        mean: NDArray[np.uint8] = np.mean(backs, axis=0).round().clip(0, 255).astype(np.uint8)
        return mean

    def _made(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        x = torch.from_numpy(picture.copy()).to(self._device).permute(2, 0, 1)[None].float() / 255
        height, scale, parts = len(picture), self._network.scale, []
        with torch.inference_mode(), torch.autocast(self._device.split(":")[0], torch.bfloat16):
            for top in range(0, height, STRIP):
                begin, bottom = max(0, top - self._reach), min(height, top + STRIP)
                part = self._network(x[:, :, begin : bottom + self._reach])
                parts.append(part[:, :, scale * (top - begin) : scale * (bottom - begin)])
            made: NDArray[np.float32] = (torch.cat(parts, 2) * 255)[0].permute(1, 2, 0).float().cpu().numpy()
        return made
