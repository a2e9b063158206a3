"""Family: models that make the same picture at different cost, the smallest first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines import catalog
from engines.base import ModelError
from engines.properties import properties

BICUBIC = "bicubic"
"""The member without a network: interpolation."""


@dataclass(frozen=True)
class Member:
    """One model of a family."""

    name: str
    """As engines.load() takes it; of a shipped model it leaves the precision to the engine."""
    parameters: int
    """Weights and biases, 0 for bicubic: what the cost grows with."""


def family(model: str, names: Sequence[str] = ()) -> tuple[list[Member], int]:
    """`model` and those of `names`, smallest first, and where `model` stands among them.

    Without names: all shipped models of the same kind (what follows the first hyphen, as in fast-webcam) and scale.
    A name without a scale means that of `model`; bicubic is a name too. Raises ModelError for one that does not exist.
    """
    path, scale = catalog.find(model), scale_of(model)
    own = next((one for one in catalog.shipped() if one.path == path), None)
    if not names and own is not None:
        kind = own.name.partition("-")[2]
        alike = [one for one in catalog.shipped() if (one.name.partition("-")[2], one.scale) == (kind, own.scale)]
        names = [one.name for one in alike]
    asked = {_name(model, scale): model}
    for name in names:
        asked.setdefault(_name(name, scale), _name(name, scale))
    members = sorted((Member(name, _parameters(name)) for name in asked.values()), key=lambda one: one.parameters)
    return members, [one.name for one in members].index(model)


def scale_of(model: str) -> int | None:
    """How many times larger a model makes a picture, as far as its file's name or its metadata tell."""
    path = catalog.find(model)
    told = re.search(r"-x(\d+)(-|$)", path.stem)
    text = told[1] if told else properties(path).get("scale", "")
    return int(text) if text.isdecimal() else None


def _name(name: str, scale: int | None) -> str:
    """NAME-xSCALE of a shipped model however it was called; what is none stays as it is."""
    if name == BICUBIC or name.endswith(".onnx") or "/" in name:
        return name
    for one in catalog.shipped():
        if name in one.names and (scale is None or one.scale == scale):
            return one.names[1]
    path = catalog.find(name)  # which says what there is
    raise ModelError(
        f"The model {name} does not make the picture that is shown",
        f"{path.name} has another scale than x{scale}",
        "Name models of one scale.",
    )


def _parameters(name: str) -> int:
    if name == BICUBIC:
        return 0
    path = catalog.find(name)
    told = properties(path).get("parameters", "")
    # Of a file that does not tell: as many as its 32-bit numbers.
    return int(told) if told.isdecimal() else max(1, path.stat().st_size // 4)


def title(name: str) -> str:
    """A member's name for people."""
    return Path(name).stem if name.endswith(".onnx") else name
