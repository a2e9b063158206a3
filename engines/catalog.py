"""The models that ship with the program, and what a file name says about a model.

A name reads NAME-x<scale>[-<precision>].onnx; without a precision it is fp32.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from engines.base import ModelError

FOLDER = Path(__file__).parent / "models"


@dataclass(frozen=True)
class Model:
    """One shipped .onnx file."""

    name: str
    scale: int
    precision: str
    path: Path


def shipped() -> list[Model]:
    """All shipped models, sorted by name, scale and precision."""
    models = []
    for path in sorted(FOLDER.glob("*.onnx")):
        match = re.fullmatch(r"(.+)-x(\d+)(?:-(fp16|int8))?", path.stem)
        if match:
            models.append(Model(match[1], int(match[2]), match[3] or "fp32", path))
    return models


def find(name: str, *, prefer: str = "fp32") -> Path:
    """The file of a model given as NAME, NAME-xS[-PRECISION] or a path. Raises ModelError naming what there is.

    A NAME without more leaves the precision open: the file of the one preferred, else fp32.
    """
    if name.endswith(".onnx") or "/" in name:
        if not Path(name).is_file():
            raise ModelError(
                f"There is no model file {name}",
                f"looked in {Path(name).absolute().parent}",
                "Give the path of an .onnx file, or a name from --list.",
            )
        return Path(name)
    models = shipped()
    for model in models:
        if name == model.path.stem:
            return model.path
    named = [m for m in models if m.name == name]
    if named:
        return min(named, key=lambda m: (m.scale, m.precision != prefer, m.precision != "fp32")).path
    names = sorted({m.name for m in models})
    near = difflib.get_close_matches(name, names, 1)
    raise ModelError(
        f"There is no model called {name}",
        f"shipped are: {', '.join(names)}",
        f"Did you mean {near[0]}?" if near else "Give one of these, or the path of an .onnx file.",
    )
