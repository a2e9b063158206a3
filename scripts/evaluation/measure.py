"""PSNR and SSIM of models on test sets, through the engine that people use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean

from engines.base import Image
from engines.errors import UserError
from scripts.common.test_sets import pairs, psnr, ssim
from scripts.evaluation import upscalers
from scripts.evaluation.upscalers import MeasuredUpscaler, Run


class EvaluateError(UserError):
    """The given folder or models cannot be measured."""


@dataclass(frozen=True)
class Score:
    """How near pictures are to the truth, on average: PSNR in dB, SSIM at most 1, both of luma."""

    psnr: float
    ssim: float


@dataclass(frozen=True)
class Evaluation:
    """The result of one model on one test set."""

    set: str
    model: str
    engine: str
    scale: int
    precision: str
    pictures: int
    score: Score
    bicubic: Score
    loss: float | None
    """PSNR less than in fp32; None if that was not measured."""

    @property
    def gain(self) -> float:
        """How much higher the PSNR is than bicubic's, in dB."""
        return self.score.psnr - self.bicubic.psnr

    def __str__(self) -> str:
        loss = "" if self.loss is None else f"{self.loss:.3f}"
        return (
            f"{self.set:<8} {self.model:<18} {self.precision:<9} {self.pictures:>8} {self.score.psnr:>7.2f}"
            f" {self.score.ssim:>7.4f} {self.bicubic.psnr:>8.2f} {self.gain:>+6.2f}  {loss}"
        ).rstrip()

    def as_dict(self) -> dict[str, object]:
        """Return the evaluation for --json: flat, with both figures of both."""
        flat = asdict(self) | {"psnr": self.score.psnr, "ssim": self.score.ssim, "gain": self.gain}
        del flat["score"]
        return flat | {"bicubic": self.bicubic.psnr, "bicubic_ssim": self.bicubic.ssim}


class PictureSet:
    """A test set at one scale: pairs of pictures, read once, and bicubic's score on them."""

    def __init__(self, name: str, scale: int, pairs: Sequence[tuple[str, Image, Image]]) -> None:
        """`pairs` holds name, low and high resolution of each picture."""
        self.name, self.scale, self.pairs = name, scale, pairs
        self._bicubic: Score | None = None

    @classmethod
    def read(cls, folder: Path, scale: int) -> PictureSet:
        """Read a set. Raises OSError for a picture that is missing."""
        return cls(folder.name, scale, list(pairs(folder, scale)))

    @property
    def bicubic(self) -> Score:
        """Bicubic's score, computed on first use."""
        if self._bicubic is None:
            self._bicubic = self.score(upscalers.bicubic(self.scale))
        return self._bicubic

    def score(self, run: Run) -> Score:
        """Return the score of `run` on all pictures.

        The truth is cut to the size of the result; raises EvaluateError if it is smaller.
        """
        noise, likeness = [], []
        for name, low, high in self.pairs:
            image = run(low)
            truth = high[: image.shape[0], : image.shape[1]]
            if truth.shape != image.shape:
                sizes = [f"{picture.shape[1]}x{picture.shape[0]}" for picture in (low, image, high)]
                raise EvaluateError(
                    f"The high resolution of {name} in {self.name} is too small",
                    "{} enlarged is {}, and it has {}".format(*sizes),
                    f"Make the low resolution {self.scale} times smaller than the high one, rounded down.",
                )
            noise.append(psnr(image, truth, border=self.scale))
            likeness.append(ssim(image, truth, border=self.scale))
        return Score(fmean(noise), fmean(likeness))


def sets(folder: Path) -> list[Path]:
    """Return the test sets in `folder`, or `folder` itself if it is one. Raises EvaluateError."""
    if not folder.is_dir():
        raise EvaluateError(
            f"There is no folder {folder}",
            f"looked in {Path.cwd()}",
            "Give the folder that holds Set5, Set14 and so on.",
        )
    found = [
        path for path in (folder, *sorted(folder.iterdir())) if path.is_dir() and list(path.glob("x*/*_SRF_*_LR.png"))
    ]
    if not found:
        raise EvaluateError(
            f"There is no test set in {folder}",
            "a set is a folder with pictures named x2/NAME_SRF_2_LR.png and x2/NAME_SRF_2_HR.png",
            "Give the folder that holds Set5, Set14 and so on.",
        )
    return found


def evaluate(folder: Path, engine: str, models: Sequence[str] = ()) -> Iterator[Evaluation]:
    """Yield an evaluation of every model (upscalers.files) in every precision on every set with pictures for its scale.

    Raises EvaluateError, EngineError.
    """
    found, chosen, some = sets(folder), upscalers.files(models), False
    pictures = lru_cache(None)(PictureSet.read)
    exact: dict[tuple[str, str], float] = {}
    for upscaler in (upscaler for file in chosen for upscaler in upscalers.variants(engine, file)):
        for test_set in (pictures(each, upscaler.scale) for each in found):
            if test_set.pairs:
                some = True
                yield measure(test_set, engine, upscaler, exact)
    if not some:
        names = ", ".join(file.stem for file in chosen)
        raise EvaluateError(f"No test set in {folder} has pictures for the scale of {names}")


def measure(
    test_set: PictureSet, engine: str, upscaler: MeasuredUpscaler, exact: dict[tuple[str, str], float]
) -> Evaluation:
    """Return the evaluation of `upscaler` on one test set.

    `exact` remembers the PSNR in fp32 by test set and model.
    """
    score, place = test_set.score(upscaler.run), (test_set.name, upscaler.model)
    loss = exact[place] - score.psnr if place in exact else None
    if upscaler.precision == "fp32":
        exact.setdefault(place, score.psnr)
    return Evaluation(
        test_set.name,
        upscaler.model,
        engine,
        upscaler.scale,
        upscaler.precision,
        len(test_set.pairs),
        score,
        test_set.bicubic,
        loss,
    )
