"""Photographs to train on: folders of pictures become pairs of low and high resolution, kept in memory."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


class Photos:
    """Random crops of photographs, as a pure function of (seed, step), so that a resumed run sees what the
    uninterrupted one would have seen.

    The low resolution is made by Pillow's antialiased bicubic filter, which is MATLAB's `imresize` to within
    rounding: the standard definition of the published test sets.
    """

    def __init__(self, folders: Iterable[Path], *, scale: int, longest: int, smallest: int) -> None:
        self.scale = scale
        self.pairs: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]] = []
        seen: set[bytes] = set()
        files = sorted({f for d in folders for f in d.rglob("*") if f.suffix.lower() in ENDINGS and f.is_file()})
        for file in tqdm(files, desc="photographs", unit=""):
            with Image.open(file) as opened:
                photo = opened.convert("RGB")
            # One picture is often shipped in several sizes: its tiny grey copy tells.
            thumb = (np.asarray(photo.convert("L").resize((8, 8), Image.Resampling.BOX)) >> 4).tobytes()
            if thumb in seen or min(photo.size) < smallest:
                continue
            seen.add(thumb)
            self.pairs.append(self._pair(photo, longest))
        if not self.pairs:
            raise FileNotFoundError(
                f"no photographs of at least {smallest} pixels a side under {', '.join(map(str, folders))}"
            )
        # Large pictures have more to show, but not in proportion to their size.
        area = np.array([low.shape[0] * low.shape[1] for low, _ in self.pairs], float) ** 0.5
        self.share = area / area.sum()

    def _pair(self, photo: Image.Image, longest: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        if max(photo.size) > longest:
            photo.thumbnail((longest, longest), Image.Resampling.BICUBIC)
        width, height = (n - n % self.scale for n in photo.size)
        high = photo.crop((0, 0, width, height))
        low = high.resize((width // self.scale, height // self.scale), Image.Resampling.BICUBIC)
        return np.asarray(low)[..., ::-1].copy(), np.asarray(high)[..., ::-1].copy()

    def batch(self, seed: int, step: int, *, count: int, size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Low [count, size, size, 3] and high [count, s*size, s*size, 3] crops, uint8 BGR, flipped and turned."""
        random = np.random.default_rng([seed, step])
        lows: list[NDArray[np.uint8]] = []
        highs: list[NDArray[np.uint8]] = []
        for index in random.choice(len(self.pairs), count, p=self.share):
            low, high = self.pairs[index]
            y, x = (int(random.integers(0, n - size + 1)) for n in low.shape[:2])
            turn, flip = int(random.integers(4)), bool(random.integers(2))
            for image, k, crops in ((low, 1, lows), (high, self.scale, highs)):
                crop = np.rot90(image[k * y : k * (y + size), k * x : k * (x + size)], turn)
                crops.append(crop[:, ::-1] if flip else crop)
        return np.stack(lows), np.stack(highs)
