"""Photographs to train on: folders of pictures become pairs of low and high resolution, kept in memory."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from fnmatch import fnmatch
from functools import partial
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from engines.errors import UserError
from scripts.training.degradation import Degradation
from scripts.training.target_sharpening import TargetSharpening

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


class PhotosError(UserError):
    """The folders hold nothing to train on, or a file that is no picture."""


class Photos:
    """Random crops of photographs, as a pure function of (seed, step).

    So a resumed run sees what the uninterrupted one would have seen.

    The low resolution is made by Pillow's antialiased bicubic filter, which is MATLAB's `imresize` to within rounding:
    the standard definition of the published test sets. With a degradation it is what a webcam would make of the picture
    instead, in several `versions` that are drawn once, before training: degrading takes longer than learning from it.
    Several `degradations` take turns. With a `sharpening`, the high resolution is sharpened after that.

    `sizes` are the shares of its own size at which each photograph is used. A smaller one shows more per pixel, and the
    marks of its own JPEG are gone, as with the pictures of the published test sets.

    With a `teacher`, what it makes of the low resolution is computed once too, as a second target (`teacher_targets`).
    For files whose names match the pattern `untaught`, that target is the high resolution itself.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        scale: int,
        longest: int,
        smallest: int,
        sizes: Sequence[float] = (1.0,),
        degradations: Sequence[Degradation] = (),
        sharpening: TargetSharpening | None = None,
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
        files = find_files(folders)
        pairs = partial(_pairs, scale=scale, longest=longest, smallest=smallest, sizes=sizes)
        with ThreadPoolExecutor() as pool:  # Pillow lets other threads run while it reads and scales
            read_ahead = tqdm(pool.map(pairs, files), desc="photographs", total=len(files), unit="", mininterval=1)
            for file, (thumb, versions_of_file) in zip(files, read_ahead, strict=True):
                if thumb is None or thumb in seen:
                    continue
                seen.add(thumb)
                used.update(f"{file.name} {file.stat().st_size}\n".encode(errors="surrogateescape"))
                for low, high in versions_of_file:
                    self.lows.append([low])
                    self.highs.append(high)
                    self.names.append(file.name)
        if not self.highs:
            raise PhotosError(
                f"There are no photographs of at least {smallest} pixels a side",
                f"looked through {', '.join(map(str, folders))}",
                "Give folders with larger photographs.",
            )
        self.digest = used.hexdigest()
        """Of the names and sizes of the files that are used, in their order: what decides the batches."""
        # Large pictures have more to show, but not in proportion to their size.
        area = np.array([low.shape[0] * low.shape[1] for low, *_ in self.lows], float) ** 0.5
        self.share = area / area.sum()
        if degradations:
            self._degrade(degradations, versions, seed)
        if sharpening:  # last: what a webcam sees is the truth
            self.highs = [sharpening(high) for high in self.highs]
        self.teacher_targets: list[NDArray[np.uint8]] = []
        if teacher:
            progress = tqdm(self.names, desc="teacher targets", unit="", mininterval=1)
            pictures = zip(progress, self.lows, self.highs, strict=True)
            self.teacher_targets = [
                high if fnmatch(name, untaught) else teacher(low) for name, (low, *_), high in pictures
            ]

    def _degrade(self, degradations: Sequence[Degradation], versions: int, seed: int) -> None:
        seeds = [[[seed, index, version] for version in range(versions)] for index in range(len(self.highs))]
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
            work = pool.map(_versions, repeat(degradations), self.highs, seeds, repeat(self.scale))
            self.lows = list(tqdm(work, desc="webcam pictures", total=len(seeds), unit="", mininterval=1))

    def places(self, seed: int, step: int, *, count: int, size: int, candidates: int = 1) -> NDArray[np.int64]:
        """Return where the batch of a step is cut out, int64 [count, 6].

        The columns are picture, version, y and x of the low resolution, quarter turns, and whether it is mirrored.

        Each place is the one of so many `candidates`, drawn at random, in which there is the most to learn: half of all
        crops hold a tenth of what bicubic interpolation gets wrong (SamplingAug, Wang et al., BMVC 2021).
        """
        random = np.random.default_rng([seed, step])
        drawn = [
            self._place(random, index, size)
            for index in random.choice(len(self.highs), count * candidates, p=self.share)
        ]
        if candidates > 1:
            groups = (drawn[first : first + candidates] for first in range(0, len(drawn), candidates))
            drawn = [max(group, key=lambda place: detail(*self._cut(place, size)[:2])) for group in groups]
        return np.array(drawn)

    def _place(self, random: np.random.Generator, index: int, size: int) -> tuple[int, ...]:
        versions = self.lows[index]
        version = int(random.integers(len(versions))) if len(versions) > 1 else 0
        y, x = (int(random.integers(0, n - size + 1)) for n in versions[version].shape[:2])
        return int(index), version, y, x, int(random.integers(4)), int(random.integers(2))

    def cut(self, places: NDArray[np.int64], size: int) -> tuple[NDArray[np.uint8], ...]:
        """Return the crops at `places`: low [count, size, size, 3] and high [count, s*size, s*size, 3], uint8 BGR.

        With a teacher there is a third array, its own, shaped as the high ones.
        """
        return tuple(np.stack(crops) for crops in zip(*(self._cut(place, size) for place in places), strict=True))

    def _cut(self, place: Iterable[int], size: int) -> tuple[NDArray[np.uint8], ...]:
        index, version, y, x, turn, mirrored = place
        large = (self.highs[index], self.teacher_targets[index]) if self.teacher_targets else (self.highs[index],)
        crops = []
        for image, k in zip((self.lows[index][version], *large), (1, self.scale, self.scale), strict=False):
            crop = np.rot90(image[k * y : k * (y + size), k * x : k * (x + size)], turn)
            crops.append(crop[:, ::-1] if mirrored else crop)
        return tuple(crops)


def detail(low: NDArray[np.uint8], high: NDArray[np.uint8]) -> float:
    """Return the mean absolute error of bicubic interpolation, in grey levels: how much of `high` has to be guessed."""
    size = high.shape[1], high.shape[0]
    smooth = cv2.resize(np.ascontiguousarray(low), size, interpolation=cv2.INTER_CUBIC)
    return cv2.norm(smooth, np.ascontiguousarray(high), cv2.NORM_L1) / high.size


def find_files(folders: Iterable[Path]) -> list[Path]:
    """Return all files that may be pictures, in an order that depends on paths alone. Raises PhotosError."""
    for folder in folders:
        if not folder.is_dir():
            raise PhotosError(f"There is no folder {folder}", f"looked in {Path.cwd()}", "Give folders of photographs.")
    files = {file for folder in folders for file in folder.resolve().rglob("*")}
    return sorted(file for file in files if file.suffix.lower() in PHOTO_SUFFIXES and file.is_file())


def read(file: Path) -> Image.Image:
    """Return a picture in colour, 8 bits each. Raises PhotosError.

    Transparency is ignored: the shipped models have learnt from what lies under it.
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
            "Take it out of the folder, or replace it with an intact one.",
        ) from None


def _pairs(
    file: Path, *, scale: int, longest: int, smallest: int, sizes: Sequence[float]
) -> tuple[bytes | None, list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]]:
    """Return a fingerprint of a picture, and its low and high resolution at each of `sizes`; None if it is too small.

    Raises PhotosError.
    """
    photo = read(file)
    if min(photo.size) < smallest:
        return None, []
    # One picture is often shipped in several sizes: a tiny grey copy identifies it.
    thumb = (np.asarray(photo.convert("L").resize((8, 8), Image.Resampling.BOX)) >> 4).tobytes()
    if max(photo.size) > longest:
        photo.thumbnail((longest, longest), Image.Resampling.BICUBIC)
    pairs = []
    for share in sizes:
        size = round(photo.width * share), round(photo.height * share)
        shown = photo if share == 1 else photo.resize(size, Image.Resampling.BICUBIC)
        if min(shown.size) >= smallest:
            pairs.append(_pair(shown, scale))
    return thumb, pairs


def _pair(photo: Image.Image, scale: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    width, height = (n - n % scale for n in photo.size)
    high = photo.crop((0, 0, width, height))
    low = high.resize((width // scale, height // scale), Image.Resampling.BICUBIC)
    return np.asarray(low)[..., ::-1].copy(), np.asarray(high)[..., ::-1].copy()


def _versions(
    degradations: Sequence[Degradation], high: NDArray[np.uint8], seeds: list[list[int]], scale: int
) -> list[NDArray[np.uint8]]:
    return [degradations[seed[-1] % len(degradations)].low(high, seed, scale) for seed in seeds]
