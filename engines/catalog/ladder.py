"""Models that make the same picture at different cost, the smallest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.catalog import shipped as catalog
from engines.catalog.onnx_metadata import properties
from engines.catalog.resolved import resolve_file

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
        """The name for people."""
        return Path(self.model).stem if self.model.endswith(".onnx") else self.model


def ladder(model: str, names: Sequence[str] = (), scale: int | None = None) -> tuple[list[Rung], int, int | None]:
    """Return `model` and those of `names`, the index of `model` among them, and their scale as far as it is known.

    Without names: all shipped models of the same scale and kind, which is what follows the first hyphen of a name
    (webcam of fast-webcam). bicubic is a name, too. Raises ModelError for one that does not exist in this scale.
    """
    resolved = resolve_file(model, scale)
    path, scale = resolved.path, resolved.scale
    if not names:
        kinds = {ship.name: ship.name.partition("-")[2] for ship in catalog.shipped() if ship.scale == scale}
        names = [name for name, kind in kinds.items() if kind == kinds.get(_network(path))]
    first = Rung(model, _parameters(path))
    by_network = {_network(path): first}
    for name in names:
        file = None if name == BICUBIC_RUNG else catalog.find(name, scale=scale)
        by_network.setdefault(_network(file), Rung(name, _parameters(file)))
    rungs = sorted(by_network.values(), key=lambda rung: rung.parameters)
    return rungs, rungs.index(first), scale


def _network(path: Path | None) -> str:
    """What the precisions of one shipped network have in common, its name; of other files their path."""
    return next((ship.name for ship in catalog.shipped() if ship.path == path), str(path))


def _parameters(path: Path | None) -> int:
    if path is None:
        return 0
    # Where a file does not state it: as many as it has room for, at 32 bits each.
    parameters = properties(path).get("parameters", "")
    return (int(parameters) if parameters.isdecimal() else 0) or max(1, path.stat().st_size // 4)
