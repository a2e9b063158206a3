"""A recipe: everything that decides the outcome of a training run, in one YAML file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

from scripts.degrade import Degradation
from scripts.export import ExportError, network_from_onnx
from scripts.network import Upscaler
from scripts.photos import Photos
from scripts.teacher import Teacher

ROOT = Path(__file__).resolve().parent.parent
OPTIMISERS = ("muon", "adam")
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Recipe:
    """See configs/train/fast-base-x2.yaml for the meaning of each."""

    seed: int
    scale: int
    channels: int
    depth: int
    expand: int
    longest: int
    batch: int
    crop: int
    steps: int
    learning_rate: float
    warmup: int
    average: float
    colour: float
    finish: float
    fourier: float = 0.0
    teacher: str | None = None
    distil: float = 0.0
    precision: str = "fp32"
    optimiser: str = "adam"
    start: str | None = None
    sizes: tuple[float, ...] = (1.0,)
    versions: int = 1
    coring: float = 0.0
    degradation: dict[str, Any] | None = field(default=None)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise TypeError(f"precision {self.precision!r} is none of {', '.join(PRECISIONS)}")
        if self.optimiser not in OPTIMISERS:
            raise TypeError(f"optimiser {self.optimiser!r} is none of {', '.join(OPTIMISERS)}")
        if self.teacher and self.degradation:
            raise TypeError("a teacher knows clean pictures alone: leave it or the degradation out")
        object.__setattr__(self, "sizes", tuple(self.sizes))  # YAML knows lists only
        self.webcam()

    @classmethod
    def read(cls, path: Path) -> Recipe:
        try:
            return cls(**yaml.safe_load(path.read_text()))
        except (OSError, TypeError, yaml.YAMLError) as error:
            raise SystemExit(f"{path} is not a recipe: {error}. Start from configs/train/fast-base-x2.yaml.") from None

    def webcam(self) -> Degradation | None:
        """What is done to pictures before the network sees them, beside making them small."""
        return None if self.degradation is None else Degradation.of(self.degradation)

    def photos(self, folders: Iterable[Path], device: str = "cpu") -> Photos:
        """What there is to learn from in `folders`. Raises FileNotFoundError if that is nothing, ExportError if the
        teacher is none of ours; it works on `device`."""
        return Photos(
            folders,
            scale=self.scale,
            longest=self.longest,
            smallest=self.scale * self.crop,
            sizes=self.sizes,
            degradation=self.webcam(),
            versions=self.versions,
            seed=self.seed,
            teacher=self.master(device),
        )

    def network(self) -> Upscaler:
        """The network to begin with. Raises ExportError if the file to start from is none of ours."""
        torch.manual_seed(self.seed)
        network = Upscaler(scale=self.scale, channels=self.channels, depth=self.depth, expand=self.expand)
        if self.start:
            network.start_from(network_from_onnx(ROOT / self.start))
        return network

    def master(self, device: str = "cpu") -> Teacher | None:
        """The finished network to learn from beside the photographs. Raises ExportError as network() does."""
        if not (self.teacher and self.distil):
            return None
        found = network_from_onnx(ROOT / self.teacher)
        if found.scale != self.scale:
            raise ExportError(
                f"{self.teacher} cannot teach this network", f"it enlarges {found.scale} times, not {self.scale}"
            )
        return Teacher(found, device)

    def rate(self, step: int) -> float:
        """Learning rate: linear warm-up, then a cosine down to nothing (SGDR, arXiv:1608.03983, one cycle)."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def values(self) -> dict[str, Any]:
        return asdict(self) | {"sizes": list(self.sizes)}
