"""What a model's name comes to: a file, its family, its scale and its precision, each decided here and only here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.catalog import shipped as catalog
from engines.catalog.onnx_metadata import properties


@dataclass(frozen=True)
class ResolvedModel:
    """A model that exists, as far as can be known without reading its network."""

    path: Path | None
    """Its .onnx file; None for bicubic interpolation and for what a server has."""
    family: str
    """What the files of one network in several precisions have in common: fast-x2; of other files their stem."""
    scale: int | None
    """How many times larger the output is; None: only the network or the server says."""
    precision: str
    """fp32, fp16 or int8 by its name, u8 for bicubic."""
    certain: bool = True
    """Whether the name states the scale. Otherwise the scale is the requested one, or that of the file's metadata."""


def resolve_file(model: str, scale: int | None, precisions: Sequence[str] = ("fp32",)) -> ResolvedModel:
    """Return the file that `model`, a shipped model's name or a path, stands for.

    Where the name leaves it open, `scale` or else the smallest one wins, then the first of `precisions`.

    Raises:
        ModelError: There is no such model, or none of that scale.
    """
    path = catalog.find(model, precisions, scale)
    named = catalog.scale_in(str(path))
    family, precision = _split(path.stem)
    return ResolvedModel(path, family, scale or named or _claimed(path), precision, certain=named is not None)


def resolve_bicubic(model: str, scale: int | None) -> ResolvedModel:
    """Return bicubic interpolation in place of `model`, by `scale`, else the scale in the model's name, else 2."""
    return ResolvedModel(None, "bicubic", scale or catalog.scale_in(model) or catalog.DEFAULT_SCALE, "u8")


def resolve_served(model: str, scale: int | None) -> ResolvedModel:
    """Return what a server has under the name `model`.

    Raises:
        ModelError: The name states another scale than `scale`.
    """
    named = catalog.scale_in(model)
    if named and scale not in (None, named):
        raise catalog.wrong_scale(model, [named], scale)
    family, precision = _split(model)
    return ResolvedModel(None, family, scale or named, precision, certain=named is not None)


def _split(name: str) -> tuple[str, str]:
    """Family and precision of a model called `name`."""
    family, _, precision = name.rpartition("-")
    return (family, precision) if family and precision in ("fp16", "int8") else (name, "fp32")


def _claimed(path: Path) -> int | None:
    """The scale in the file's metadata."""
    text = properties(path).get("scale", "")
    return int(text) if text.isdecimal() else None
