"""The contract of a model: one picture in, one larger picture out, both in the bytes of cameras and windows."""

from __future__ import annotations

from pathlib import Path

from engines.base import ModelError

LARGEST_SCALE = 8


def refused(path: Path, facts: str) -> ModelError:
    """What is said of a model that breaks the contract; `facts` says how."""
    return ModelError(
        f"{path} is not an upscaling model this program can run",
        facts,
        "It takes one picture, uint8 [1, H, W, 3] BGR, and gives one, uint8 [1, s*H, s*W, 3].",
    )


def scale_between(path: Path, size: tuple[int, int], output: tuple[int, int]) -> int:
    """How many times larger `output` is than `size`, both (width, height). Raises ModelError."""
    scale = output[1] // size[1]
    if not 1 <= scale <= LARGEST_SCALE or output != (scale * size[0], scale * size[1]):
        raise refused(
            path, f"it makes {output[0]}x{output[1]} of {size[0]}x{size[1]}, which is no whole number of times larger"
        )
    return scale
