"""A recipe, photographs and a run that are small enough for a test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scripts.training.photos import Photos
    from scripts.training.recipe import Recipe
    from scripts.training.trainer import Training

STEPS = 20

VALUES = {
    "seed": 3, "scale": 2, "channels": 4, "depth": 1, "expand": 8, "longest": 96, "batch": 2, "crop": 16,
    "steps": STEPS, "learning_rate": 0.01, "warmup": 4, "average": 0.9, "colour": 0.25, "finish": 0.6,
}  # fmt: skip
"""A tiny one: all its parts are in play within 20 steps."""


def recipe(**changes: Any) -> Recipe:
    from scripts.training.recipe import Recipe

    return Recipe(**(VALUES | changes))


def written(path: Path, **changes: Any) -> Path:
    """Its file."""
    path.write_text(yaml.safe_dump(VALUES | changes))
    return path


def save(path: Path, seed: int, size: tuple[int, int] = (64, 48)) -> Path:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def pictures(folder: Path) -> Path:
    """Three different ones."""
    for seed in range(3):
        save(folder / f"{seed}.png", seed)
    return folder


def measured(folder: Path) -> Path:
    """A test set of a single pair, for x2."""
    save(folder / "x2/a_SRF_2_LR.png", 5, (16, 12))
    save(folder / "x2/a_SRF_2_HR.png", 5, (32, 24))
    return folder


def photos_of(*folders: Path, longest: int = 96, smallest: int = 32, **webcam: Any) -> Photos:
    from scripts.training.photos import Photos

    return Photos(folders, scale=2, longest=longest, smallest=smallest, **webcam)


def training(folder: Path, *, device: str = "cpu", compiled: bool = False, **changes: Any) -> Training:
    from scripts.training.trainer import Training

    made = recipe(**changes)
    return Training(made, photos_of(folder, teacher=made.build_teacher(device)), device=device, compiled=compiled)


def batch(photos: Photos, seed: int, step: int, **amounts: int) -> tuple[NDArray[np.uint8], ...]:
    """Low and high crops of a step."""
    return photos.cut(photos.places(seed, step, **amounts), amounts["size"])


def advance(run: Training, steps: int = STEPS) -> list[float]:
    """The losses of up to `steps` more steps."""
    return [float(run.advance(*made)) for made, _ in zip(run.batches(), range(steps), strict=False)]
