"""All photographs in a GPU's memory, and the batch of a step cut out of them there.

The processor only draws the places: a small network learns faster than a processor could copy and hand over crops.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scripts.training.photos import Photos


class GpuPictures:
    """uint8 [H, W, 3] pictures of any sizes, one behind the other on a device."""

    def __init__(self, pictures: Sequence[NDArray[np.uint8]], device: str) -> None:
        areas = np.array([0, *(picture.shape[0] * picture.shape[1] for picture in pictures)])
        self._pixels = torch.empty((int(areas.sum()), 3), dtype=torch.uint8, device=device)
        self._begins = torch.from_numpy(areas.cumsum()).to(device)
        self._widths = torch.tensor([picture.shape[1] for picture in pictures], device=device)
        for picture, begin in zip(pictures, areas.cumsum(), strict=False):
            part = torch.from_numpy(np.ascontiguousarray(picture)).view(-1, 3)
            self._pixels[begin : begin + len(part)] = part.to(device)

    def crops(self, index: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Return the pixels of the pictures `index` [N] at `y` and `x`: [N, size, size, 3].

        `y` and `x` are rows and columns, [N, size, size] each.
        """
        first, width = self._begins[index][:, None, None], self._widths[index][:, None, None]
        return self._pixels[first + y * width + x]


class GpuCropper:
    """Cuts as Photos.cut() does, on `device`, which has all of `photos` in its memory from now on."""

    def __init__(self, photos: Photos, device: str) -> None:
        """Raises torch.OutOfMemoryError."""
        self._firsts = torch.tensor([0, *(len(versions) for versions in photos.lows)]).cumsum(0).to(device)
        self._scale, self._device = photos.scale, device
        self._low = GpuPictures([low for versions in photos.lows for low in versions], device)
        self._large = [GpuPictures(pictures, device) for pictures in (photos.highs, photos.teacher_targets) if pictures]

    def __call__(self, places: Tensor, size: int) -> tuple[Tensor, ...]:
        """Return crops as Photos.cut() does; `places` are those of Photos.places()."""
        index, version, y, x, turn, mirrored = places.to(self._device, non_blocking=True).unbind(1)
        low = self._low.crops(self._firsts[index] + version, *turned_coordinates(y, x, size, turn, mirrored))
        rows, columns = turned_coordinates(self._scale * y, self._scale * x, self._scale * size, turn, mirrored)
        return low, *(pictures.crops(index, rows, columns) for pictures in self._large)


def turned_coordinates(y: Tensor, x: Tensor, size: int, turn: Tensor, mirrored: Tensor) -> tuple[Tensor, Tensor]:
    """Return row and column, [N, size, size] each, from where every pixel of the squares at `y`, `x` comes.

    The squares are turned by so many quarters counterclockwise, as numpy.rot90() does, and then mirrored.
    """
    line = torch.arange(size, device=y.device)
    turn, mirrored = turn[:, None, None], mirrored[:, None, None] == 1
    rows, columns = line[None, :, None], torch.where(mirrored, line.flip(0), line)
    for quarter in range(1, 4):
        more = turn >= quarter
        rows, columns = torch.where(more, columns, rows), torch.where(more, size - 1 - rows, columns)
    return y[:, None, None] + rows, x[:, None, None] + columns
