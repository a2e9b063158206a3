"""Models that make the same picture at different cost, the smallest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.catalog import shipped as catalog
from engines.catalog.onnx_metadata import properties

BICUBIC_RUNG = "bicubic"
"""The rung without a network: interpolation."""


@dataclass(frozen=True)
class Rung:
    """One model."""

    model: str
    """As engines.load() takes it; of a shipped one it leaves the precision to the engine."""
    parameters: int
    """Weights and biases, 0 for bicubic: what the cost grows with."""

    @property
    def title(self) -> str:
        """Its name for people."""
        return Path(self.model).stem if self.model.endswith(".onnx") else self.model


def ladder(model: str, names: Sequence[str] = (), scale: int | None = None) -> tuple[list[Rung], int, int | None]:
    """`model` and those of `names`, where `model` stands among them, and their scale as far as files tell it.

    Without names: all shipped models of the same scale and kind, which is what follows the first hyphen of a name
    (webcam of fast-webcam). bicubic is a name too. Raises ModelError for one that does not exist in this scale.
    """
    path = catalog.find(model, scale=scale)
    scale = scale or catalog.scale_in(str(path)) or _number(path, "scale")
    if not names:
        kinds = {one.name: one.name.partition("-")[2] for one in catalog.shipped() if one.scale == scale}
        names = [name for name, kind in kinds.items() if kind == kinds.get(_network(path))]
    first = Rung(model, _parameters(path))
    asked = {_network(path): first}
    for name in names:
        file = None if name == BICUBIC_RUNG else catalog.find(name, scale=scale)
        asked.setdefault(_network(file), Rung(name, _parameters(file)))
    rungs = sorted(asked.values(), key=lambda rung: rung.parameters)
    return rungs, rungs.index(first), scale


def _network(path: Path | None) -> str:
    """What the precisions of one shipped network have in common, its name; of other files their path."""
    return next((one.name for one in catalog.shipped() if one.path == path), str(path))


def _parameters(path: Path | None) -> int:
    if path is None:
        return 0
    # Of a file that does not tell: as many as it has room for, at 32 bits each.
    return _number(path, "parameters") or max(1, path.stat().st_size // 4)


def _number(path: Path, key: str) -> int | None:
    told = properties(path).get(key, "")
    return int(told) if told.isdecimal() else None
