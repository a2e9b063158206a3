"""How well the webcam models clean: a test set degraded as by a webcam, always in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from engines.base import Image
from engines.catalog import shipped as catalog
from scripts.evaluation import upscalers
from scripts.evaluation.findings import Cleaning
from scripts.evaluation.measure import PictureSet
from scripts.training.degradation import Degradation

DEGRADATION_SEED = 2026
"""Of the first picture; each further one has the next."""
WEBCAM_SCALE = 2
WEBCAM_SUFFIX = "-webcam"
"""How the name of a model for webcams ends; before it stands that of the clean-trained model of the same size."""

Degrade = Callable[[Image, int, int], Image]
"""Of the truth, a seed and the scale: the low resolution."""


def degraded(pictures: PictureSet, low: Degrade | None = None) -> PictureSet:
    """Return the same truth, cut to multiples of the scale, with low resolutions made by `low`.

    By default that is the webcam's degradation, which here spares no picture.
    """
    scale, pairs, low = pictures.scale, [], low or replace(Degradation.webcam(), mild=0).low
    for index, (name, _, high) in enumerate(pictures.pairs):
        height, width = (n - n % scale for n in high.shape[:2])
        truth = high[:height, :width].copy()
        pairs.append((name, low(truth, DEGRADATION_SEED + index, scale), truth))
    return PictureSet(pictures.name, scale, pairs)


def models() -> list[str]:
    """Return the names of the shipped x2 models for webcams, small ones first, without a scale.

    Each comes after the clean-trained model of its size.
    """
    there = sorted((m for m in catalog.shipped() if m.scale == WEBCAM_SCALE), key=lambda m: m.path.stat().st_size)
    names = dict.fromkeys(model.name for model in there)
    chosen: dict[str, None] = {}
    for name in names:
        if name.endswith(WEBCAM_SUFFIX):
            clean = name.removesuffix(WEBCAM_SUFFIX)
            chosen |= {clean: None} if clean in names else {}
            chosen[name] = None
    return list(chosen)


def measure(pictures: PictureSet, names: list[str]) -> Iterator[Cleaning]:
    """Yield the scores of bicubic, then of the models in `names` in fp32 and int8, on a degraded set.

    Raises EngineError.
    """
    yield Cleaning("bicubic", "", pictures.bicubic)
    for name in names:
        for file in upscalers.files([f"{name}-x{WEBCAM_SCALE}"]):
            for way in upscalers.variants("openvino", file):
                if way.precision in ("fp32", "int8"):
                    yield Cleaning(way.model, way.precision, pictures.score(way.run))
