"""The contract of a model: one picture in, one larger picture out, both in the bytes of cameras and windows.

A model may take a second input, `strength`, float32 [1], by which it multiplies the detail that it adds to its base
picture: 0 leaves that as it is, 1 is as trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engines.errors import ModelError

MAX_SCALE = 8
"""The largest scale of a model."""
STRENGTH_INPUT = "strength"
"""The name of a model's second input, if it has one."""
MAX_STRENGTH = 2.0
"""The largest strength that is asked for; the smallest is 0."""


def refused(path: Path, facts: str) -> ModelError:
    """Return the error for a model that breaks the contract; `facts` says how."""
    return ModelError(
        f"{path} is not an upscaling model this program can run",
        facts,
        "A model takes one picture, uint8 [1, H, W, 3] BGR, and returns one, uint8 [1, s*H, s*W, 3]; its second input, "
        "if it has one, is `strength`, float32 [1].",
    )


def unfit(path: Path, given: Sequence[int | None], size: tuple[int, int]) -> ModelError:
    """Return the error for a model whose input is `given`, None where it is free, and pictures of `size`.

    `given` has four axes; `size` is (width, height).
    """
    (batch, height, width, channels), (wanted_width, wanted_height) = given, size
    if batch in (1, None) and channels == 3:
        return ModelError(
            f"{path} takes pictures of {width or 'any width'}x{height or 'any height'} only",
            f"these are {wanted_width}x{wanted_height}",
            "Ask the camera for that with --size, or scale the file first; or choose a model for pictures of any size.",
        )
    shape = ", ".join("?" if n is None else str(n) for n in given)
    return refused(path, f"its input is [{shape}], which cannot be [1, {wanted_height}, {wanted_width}, 3]")


def scale_between(path: Path, size: tuple[int, int], output: tuple[int, int]) -> int:
    """Return how many times larger `output` is than `size`, both (width, height). Raises ModelError."""
    scale = output[1] // size[1]
    if not 1 <= scale <= MAX_SCALE or output != (scale * size[0], scale * size[1]):
        raise refused(
            path,
            f"it makes {output[0]}x{output[1]} of {size[0]}x{size[1]}, which is not a whole number of times larger",
        )
    return scale
