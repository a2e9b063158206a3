"""The models that ship with the program, and what a file name says about a model.

A name reads NAME-x<scale>[-<precision>].onnx; without a precision it is fp32.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.base import EngineError

FOLDER = Path(__file__).parent / "models"


@dataclass(frozen=True)
class Model:
    """One shipped .onnx file."""

    name: str
    scale: int
    precision: str
    path: Path

    @property
    def names(self) -> tuple[str, str, str]:
        """What it may be called, from vague to exact: fast, fast-x2, fast-x2-fp32."""
        return self.name, f"{self.name}-x{self.scale}", f"{self.name}-x{self.scale}-{self.precision}"


def shipped() -> list[Model]:
    """All shipped models, sorted by name, scale and precision."""
    models = []
    for path in sorted(FOLDER.glob("*.onnx")):
        match = re.fullmatch(r"(.+)-x(\d+)(?:-(fp16|int8))?", path.stem)
        if match:
            models.append(Model(match[1], int(match[2]), match[3] or "fp32", path))
    return models


def find(name: str, precisions: Sequence[str] = ("fp32",)) -> Path:
    """The file of a model given as NAME, NAME-xS, NAME-xS-PRECISION or a path.

    Where the name leaves it open, the smallest scale, then the first of `precisions`, which an engine gives in the
    order of its liking, wins. Raises EngineError naming what there is.
    """
    if name.endswith(".onnx") or "/" in name:
        if not Path(name).is_file():
            raise EngineError(
                f"There is no model file {name}",
                f"looked in {Path(name).absolute().parent}",
                "Give the path of an .onnx file, or a name from --list.",
            )
        return Path(name)

    def rank(model: Model) -> tuple[int, int]:
        liked = precisions.index(model.precision) if model.precision in precisions else len(precisions)
        return model.scale, liked

    models = shipped()
    if fitting := [model for model in models if name in model.names]:
        return min(fitting, key=rank).path
    names = sorted({m.name for m in models})
    near = difflib.get_close_matches(name, [known for m in models for known in m.names], 1)
    raise EngineError(
        f"There is no model called {name}",
        f"shipped are: {', '.join(names)}",
        f"Did you mean {near[0]}?" if near else "Give one of these, or the path of an .onnx file.",
    )
