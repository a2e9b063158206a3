#!/usr/bin/env python3
"""Measure shipped models on test sets, through the engine that people use: python scripts/evaluate.py FOLDER

FOLDER holds one folder a set, laid out as scripts/testsets.py says (Set5, Set14 ...). The figure is PSNR in dB of
BT.601 luma, rounded to 8 bits, `scale` pixels of border cut, averaged over the pictures; bicubic is OpenCV's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import engines
from engines import catalog
from engines.base import SMALLEST, Image, UserError
from scripts.testsets import pairs, psnr


class EvaluateError(UserError):
    """Nothing can be measured with what was given."""


@dataclass(frozen=True)
class Result:
    """One model on one test set; PSNR in dB."""

    set: str
    model: str
    engine: str
    precision: str
    pictures: int
    psnr: float
    bicubic: float

    @property
    def gain(self) -> float:
        return self.psnr - self.bicubic


def upscale(engine: str, model: str, image: Image, scale: int) -> tuple[Image, str]:
    """`image` enlarged by an engine made for its size, and the precision it was computed in."""
    height, width = image.shape[:2]
    with engines.load(engine, model, (width, height), depth=1, scale=scale) as loaded:
        loaded.reserve()
        loaded.submit(image, None)
        result = loaded.collect(timeout=60)
        assert result is not None  # only a cancelled engine ends before its frame
        return result[0].copy(), loaded.spec.precision


def scale_of(engine: str, model: str) -> int:
    """The scale of a model, asked of the engine."""
    with engines.load(engine, model, SMALLEST, depth=1) as loaded:
        return loaded.spec.scale


def measure(folder: Path, engine: str, model: str) -> Result | None:
    """`model` on the test set in `folder`; None if the set has no pictures for the model's scale."""
    scale = scale_of(engine, model)
    figures, plain, precision = [], [], ""
    for _name, low, high in pairs(folder, scale):
        image, precision = upscale(engine, model, low, scale)
        bicubic, _ = upscale("bicubic", "", low, scale)
        truth = high[: image.shape[0], : image.shape[1]]
        figures.append(psnr(image, truth, border=scale))
        plain.append(psnr(bicubic, truth, border=scale))
    if not figures:
        return None
    name = Path(model).stem if model.endswith(".onnx") else model
    count = len(figures)
    return Result(folder.name, name, engine, precision, count, sum(figures) / count, sum(plain) / count)


def sets(folder: Path) -> list[Path]:
    """The test sets in `folder`, or `folder` itself if it is one. Raises EvaluateError."""
    if not folder.is_dir():
        raise EvaluateError(
            f"There is no folder {folder}",
            f"looked in {Path.cwd()}",
            "Give the folder that holds Set5, Set14 and so on.",
        )
    found = [one for one in (folder, *sorted(folder.iterdir())) if one.is_dir() and list(one.glob("x*/*_SRF_*_LR.png"))]
    if not found:
        raise EvaluateError(
            f"There is no test set in {folder}",
            "a set is a folder with pictures named x2/NAME_SRF_2_LR.png and x2/NAME_SRF_2_HR.png",
            "Give the folder that holds Set5, Set14 and so on.",
        )
    return found


def evaluate(folder: Path, engine: str, models: list[str]) -> Iterator[Result]:
    """Every model on every set in `folder` that has pictures for it. Raises EvaluateError, EngineError."""
    some = False
    for model in models:
        for one in sets(folder):
            if result := measure(one, engine, model):
                some = True
                yield result
    if not some:
        raise EvaluateError(f"No test set in {folder} has pictures for the scale of {', '.join(models)}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="test sets")
    parser.add_argument("--model", action="append", help="a name or an .onnx file; again for more [all shipped]")
    parser.add_argument("--engine", default="openvino", help="what runs it [openvino]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures too")
    options = parser.parse_args(arguments)
    results: list[dict[str, object]] = []
    try:
        for r in evaluate(options.folder, options.engine, options.model or [str(m.path) for m in catalog.shipped()]):
            if not results:
                print(
                    f"{'set':<8} {'model':<16} {'precision':<9} {'pictures':>8} {'PSNR':>7} {'bicubic':>8} {'gain':>6}"
                )
            print(
                f"{r.set:<8} {r.model:<16} {r.precision:<9} {r.pictures:>8} {r.psnr:>7.2f} {r.bicubic:>8.2f}"
                f" {r.gain:>+6.2f}",
                flush=True,
            )
            results.append(asdict(r) | {"gain": r.gain})
        if options.json:
            options.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    except (UserError, OSError) as error:  # an OSError names its file: a picture that is missing, an unwritable --json
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
