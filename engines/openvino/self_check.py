"""Check a rewritten graph against the file it was made from, on the processor that will run it.

A rewriting may be right by the standard of every operator and still come out wrong: kernels differ between processors.
On aarch64, OpenVINO 2026.4 makes the rows that uint8_activations.fuse_detail_add() builds about 16 grey levels too
dark, while the same graph is right on x86-64. So a rewriting is used only where it has been tried.

This module knows nothing of files, caches or this package's other modules: scripts/triton_repository.py copies it into
model repositories.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

LEAST_DB = 45.0
"""PSNR between the two pictures from which a rewriting counts as right. Right ones read 48.8 dB and more, those that
lose the detail which scale 3 and 4 add 40 dB, those that are too dark by 16 levels 24 dB."""
SIZE = (64, 48)
"""Width and height of the frame if the file leaves the choice: small, so that computing it takes next to no time."""
LEVELS = 256
TILE, STEP = 8, 0.25
"""Side of the chequered tiles in pixels, and by how much every other one is lighter, black to white being 1."""

Picture = NDArray[np.uint8]
Rewrite = Callable[[ov.Model], object]


def is_quantised(model: ov.Model) -> bool:
    """Whether the arithmetic of `model` is int8."""
    return any(node.get_type_name() in ("FakeQuantize", "QuantizeLinear") for node in model.get_ops())


def agreement_db(
    core: ov.Core, plain: ov.Model, rewrite: Rewrite, options: dict[str, Any], strength: float = 1
) -> float:
    """PSNR between the picture that `plain` makes and that of a copy after `rewrite`; infinite if they are equal.

    `plain` has a static shape [1, H, W, 3], uint8, with at least 256 pixels, and stays as it is. If it takes a
    strength, as its second input, that is `strength`. Both are compiled for the CPU with `options`. Raises RuntimeError
    where one cannot be compiled or run.
    """
    rewritten = plain.clone()
    rewrite(rewritten)
    _, height, width, _ = plain.input(0).shape
    inputs = [check_frame((width, height))[None], np.array([strength], np.float32)][: len(plain.inputs)]
    pictures = []
    for model in (plain, rewritten):
        compiled = core.compile_model(model, "CPU", options)
        pictures.append(np.array(compiled(inputs)[0], np.float64))
    error = float(np.mean((pictures[0] - pictures[1]) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def check_frame(size: tuple[int, int]) -> Picture:
    """A frame [H, W, 3], uint8, of `size` (width, height) in which every colour has all levels from 0 to 255.

    Ramps in three directions, with chequered tiles and a grating on them, so that a network has edges and detail to
    work on. `size` has at least 256 pixels.
    """
    width, height = size
    y, x = np.mgrid[:height, :width]
    across, down, tiles = x / width, y / height, STEP * ((x // TILE + y // TILE) % 2)
    brightness = (across + tiles, 0.1 * np.sin(1.3 * x) - down, (across + down) / 2 - tiles)
    frame = np.empty((height, width, 3), np.uint8)
    levels = np.arange(width * height) * LEVELS // (width * height)
    for colour, values in enumerate(brightness):
        # By rank, so that there are as many pixels of each level.
        flat = np.empty(width * height, np.uint8)
        flat[np.argsort(values, axis=None, kind="stable")] = levels
        frame[..., colour] = flat.reshape(height, width)
    return frame
