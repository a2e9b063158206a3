"""Bicubic interpolation: the reference every picture is compared with, and the fallback that always works."""

from __future__ import annotations

import time
from typing import Any

import cv2
import numpy as np

from engines.base import Engine, Image, Spec
from engines.slot_engine import SlotEngine


def enlarge(image: Image, output: Image) -> Image:
    """Enlarge `image` into the buffer `output`, whose shape decides the size, and return `output`.

    Both are uint8 [H, W, 3]; `output` belongs to the caller. Where it is smaller, it gets means over areas of `image`,
    which are smooth.
    """
    interpolation = cv2.INTER_AREA if output.shape[1] < image.shape[1] else cv2.INTER_CUBIC
    cv2.resize(image, (output.shape[1], output.shape[0]), dst=output, interpolation=interpolation)
    return output


class BicubicSlot:
    """Computes where it is waited for: at about 2 ms a frame a thread of its own would cost more than it brings."""

    def __init__(self, size: tuple[int, int], scale: int, output: tuple[int, int] | None = None) -> None:
        """Allocate the buffers for inputs of `size` (width, height); `output` as of spec_for()."""
        width, height = output or (size[0] * scale, size[1] * scale)
        self.input: Image = np.empty((size[1], size[0], 3), np.uint8)
        self._output: Image = np.empty((height, width, 3), np.uint8)
        self.finished = 0.0

    def place(self, input: Image, output: Image) -> bool:
        """Work in these buffers from now on (engines.worker)."""
        self.input, self._output = input, output
        return True

    def launch(self, image: Image) -> None:
        """Copy `image`, uint8 [H, W, 3], unless it is `input` itself."""
        if image is not self.input:
            np.copyto(self.input, image)

    def wait(self, timeout: float) -> Image:
        """Return the result, however long that takes."""
        enlarge(self.input, self._output)
        self.finished = time.monotonic()
        return self._output

    def close(self) -> None:
        """Do nothing: the buffers go with the slot."""


def spec_for(size: tuple[int, int], scale: int, output: tuple[int, int] | None = None) -> Spec:
    """Return the description of a bicubic engine for inputs of `size` (width, height).

    `output`: the (width, height) of its pictures, by default `scale` times as large.
    """
    return Spec("bicubic", "CPU", "bicubic", "u8", scale, size, output or (size[0] * scale, size[1] * scale))


def load(size: tuple[int, int], *, scale: int, depth: int, output: tuple[int, int] | None = None) -> Engine[Any]:
    """Return a bicubic engine for inputs of `size` (width, height) with `depth` slots; `output` as of spec_for()."""
    return SlotEngine(spec_for(size, scale, output), [BicubicSlot(size, scale, output) for _ in range(depth)])
