"""Photographs to train on: folders of pictures become pairs of low and high resolution, kept in memory."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatch
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from engines.base import UserError
from scripts.degrade import Degradation

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


class PhotosError(UserError):
    """There is nothing to train on where it was looked for, or a file that is no picture."""


class Photos:
    """Random crops of photographs, as a pure function of (seed, step), so that a resumed run sees what the
    uninterrupted one would have seen.

    The low resolution is made by Pillow's antialiased bicubic filter, which is MATLAB's `imresize` to within
    rounding: the standard definition of the published test sets. With a degradation it is what a webcam would make
    of the picture instead, in several `versions` that are drawn once, before training: degrading takes longer than
    learning from it.

    `sizes` are the shares of its own size at which each photograph is used. A smaller one shows more to the pixel, and
    the marks of its own JPEG are gone, as with the pictures of the published test sets.

    What a `teacher` makes of the low resolution is drawn once too, beside the high one; of files with names like
    `untaught` it knows nothing, and the high resolution stands for it.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        scale: int,
        longest: int,
        smallest: int,
        sizes: Sequence[float] = (1.0,),
        degradation: Degradation | None = None,
        versions: int = 1,
        seed: int = 0,
        teacher: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
        untaught: str = "",
    ) -> None:
        self.scale = scale
        self.lows: list[list[NDArray[np.uint8]]] = []
        self.highs: list[NDArray[np.uint8]] = []
        self.names: list[str] = []
        seen: set[bytes] = set()
        used = hashlib.sha256()
        for file in tqdm(found(folders), desc="photographs", unit="", mininterval=1):
            photo = read(file)
            # One picture is often shipped in several sizes: its tiny grey copy tells.
            thumb = (np.asarray(photo.convert("L").resize((8, 8), Image.Resampling.BOX)) >> 4).tobytes()
            if thumb in seen or min(photo.size) < smallest:
                continue
            seen.add(thumb)
            used.update(f"{file.name} {file.stat().st_size}\n".encode(errors="surrogateescape"))
            if max(photo.size) > longest:
                photo.thumbnail((longest, longest), Image.Resampling.BICUBIC)
            for share in sizes:
                self._add(photo, file.name, share, smallest)
        if not self.highs:
            raise PhotosError(
                f"There are no photographs of at least {smallest} pixels a side",
                f"looked through {', '.join(map(str, folders))}",
                "Give folders with larger ones.",
            )
        self.digest = used.hexdigest()
        """Of the names and sizes of the files that are used, in their order: what decides the batches."""
        # Large pictures have more to show, but not in proportion to their size.
        area = np.array([low.shape[0] * low.shape[1] for low, *_ in self.lows], float) ** 0.5
        self.share = area / area.sum()
        if degradation:
            self._degrade(degradation, versions, seed)
        self.taught: list[NDArray[np.uint8]] = []
        if teacher:
            names = tqdm(self.names, desc="the teacher's", unit="", mininterval=1)
            pictures = zip(names, self.lows, self.highs, strict=True)
            self.taught = [high if fnmatch(name, untaught) else teacher(low) for name, (low, *_), high in pictures]

    def _add(self, photo: Image.Image, name: str, share: float, smallest: int) -> None:
        if share != 1:
            size = round(photo.width * share), round(photo.height * share)
            photo = photo.resize(size, Image.Resampling.BICUBIC)
        if min(photo.size) < smallest:
            return
        width, height = (n - n % self.scale for n in photo.size)
        high = photo.crop((0, 0, width, height))
        low = high.resize((width // self.scale, height // self.scale), Image.Resampling.BICUBIC)
        self.lows.append([np.asarray(low)[..., ::-1].copy()])
        self.highs.append(np.asarray(high)[..., ::-1].copy())
        self.names.append(name)

    def _degrade(self, degradation: Degradation, versions: int, seed: int) -> None:
        seeds = [[[seed, index, version] for version in range(versions)] for index in range(len(self.highs))]
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
            work = pool.map(_versions, repeat(degradation), self.highs, seeds, repeat(self.scale))
            self.lows = list(tqdm(work, desc="webcam pictures", total=len(seeds), unit="", mininterval=1))

    def batch(
        self, seed: int, step: int, *, count: int, size: int, candidates: int = 1
    ) -> tuple[NDArray[np.uint8], ...]:
        """Low [count, size, size, 3] and high [count, s*size, s*size, 3] crops, uint8 BGR, flipped and turned; with a
        teacher its own as a third, like the high ones.

        Each is the one of so many `candidates`, drawn at random, in which there is the most to learn: half of all crops
        hold a tenth of what bicubic interpolation gets wrong (SamplingAug, Wang et al., BMVC 2021).
        """
        random = np.random.default_rng([seed, step])
        drawn = [
            self._crops(random, index, size)
            for index in random.choice(len(self.highs), count * candidates, p=self.share)
        ]
        if candidates > 1:
            groups = (drawn[first : first + candidates] for first in range(0, len(drawn), candidates))
            drawn = [max(group, key=lambda crops: detail(*crops[:2])) for group in groups]
        return tuple(np.stack(crops) for crops in zip(*drawn, strict=True))

    def _crops(self, random: np.random.Generator, index: int, size: int) -> tuple[NDArray[np.uint8], ...]:
        """One place of one photograph, flipped and turned: low, high, and the teacher's if there is one."""
        versions, high = self.lows[index], self.highs[index]
        low = versions[int(random.integers(len(versions))) if len(versions) > 1 else 0]
        y, x = (int(random.integers(0, n - size + 1)) for n in low.shape[:2])
        turn, flip = int(random.integers(4)), bool(random.integers(2))
        large = (high, self.taught[index]) if self.taught else (high,)
        crops = []
        for image, k in zip((low, *large), (1, self.scale, self.scale), strict=False):
            crop = np.rot90(image[k * y : k * (y + size), k * x : k * (x + size)], turn)
            crops.append(crop[:, ::-1] if flip else crop)
        return tuple(crops)


def detail(low: NDArray[np.uint8], high: NDArray[np.uint8]) -> float:
    """Mean absolute error of bicubic interpolation, in grey levels: how much of `high` has to be guessed."""
    size = high.shape[1], high.shape[0]
    smooth = cv2.resize(np.ascontiguousarray(low), size, interpolation=cv2.INTER_CUBIC)
    return cv2.norm(smooth, np.ascontiguousarray(high), cv2.NORM_L1) / high.size


def found(folders: Iterable[Path]) -> list[Path]:
    """All that may be a picture, in one order however the folders are spelt. Raises PhotosError."""
    for folder in folders:
        if not folder.is_dir():
            raise PhotosError(f"There is no folder {folder}", f"looked in {Path.cwd()}", "Give folders of photographs.")
    files = {file for folder in folders for file in folder.resolve().rglob("*")}
    return sorted(file for file in files if file.suffix.lower() in ENDINGS and file.is_file())


def read(file: Path) -> Image.Image:
    """In colour, 8 bits each. Raises PhotosError.

    How transparent it is does not count: shipped models have learnt from what lies under it.
    """
    try:
        with Image.open(file) as opened:
            if opened.mode.startswith("I"):  # 16 bits of grey, which Pillow would cut off at 255
                grey: NDArray[np.uint8] = (np.asarray(opened) / 257).round().clip(0, 255).astype(np.uint8)
                return Image.fromarray(grey).convert("RGB")
            photo: Image.Image = opened.convert("RGB")
            return photo
    except Exception as error:  # a broken file can fail in any way, in Pillow's reader of any format
        raise PhotosError(
            f"{file} cannot be read as a picture",
            f"{type(error).__name__}: {error}",
            "Take it out of the folder, or put a sound one in its place.",
        ) from None


def _versions(
    degradation: Degradation, high: NDArray[np.uint8], seeds: list[list[int]], scale: int
) -> list[NDArray[np.uint8]]:
    return [degradation.low(high, seed, scale) for seed in seeds]
