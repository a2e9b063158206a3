"""A recipe: everything that decides the outcome of a training run, in one YAML file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import yaml
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic.dataclasses import dataclass

from engines.catalog.contract import MAX_SCALE
from engines.errors import UserError
from scripts.common.checkout import ROOT
from scripts.common.network import UpscalingNetwork
from scripts.conversion.exporter import ExportError, network_from_onnx
from scripts.training.degradation import Degradation
from scripts.training.photos import Photos
from scripts.training.target_sharpening import TargetSharpening
from scripts.training.teacher import Teacher

RECIPES_FOLDER = ROOT / "configs/train"
AUTOCAST_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Count = Annotated[int, Field(ge=1)]
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


def as_sequence(value: Any) -> Any:
    """Return a recipe's `degradation`, of which there may be none, one or several, as a sequence."""
    if value is None:
        return ()
    return (value,) if isinstance(value, dict) else value


Mappings = Annotated[tuple[dict[str, Any], ...], BeforeValidator(as_sequence)]


class RecipeError(UserError):
    """A recipe is invalid, or names a file that does not exist."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Recipe:
    """A validated recipe; configs/train/fast-x3.yaml explains each value. Raises pydantic's ValidationError."""

    seed: Whole
    scale: Annotated[int, Field(ge=1, le=MAX_SCALE)]
    channels: Count
    depth: Whole
    expand: Count
    longest: Count
    batch: Count
    crop: Count
    steps: Count
    learning_rate: Positive
    warmup: Whole
    average: Share
    colour: Weight
    finish: Share
    fourier: Weight = 0.0
    teacher: str | None = None
    distil: Weight = 0.0
    untaught: str = ""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    optimiser: Literal["muon", "adam"] = "adam"
    start: str | None = None
    sizes: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0,)
    versions: Count = 1
    candidates: Count = 1
    coring: Weight = 0.0
    degradation: Mappings = ()
    sharpened_targets: dict[str, Any] | None = None
    data: tuple[str, ...] = ()
    calibration: tuple[str, ...] = ()

    @field_validator("degradation")
    @classmethod
    def _ranges(cls, degradations: tuple[dict[str, Any], ...]) -> tuple[dict[str, Any], ...]:
        """Validate the ranges, and keep them as written: a card quotes them."""
        for values in degradations:
            TypeAdapter(Degradation).validate_python(values)
            try:
                ranges = asdict(Degradation.of(values))
            except TypeError as error:  # an unknown key
                raise ValueError(str(error)) from None
            for name, ends in ranges.items():
                if isinstance(ends, tuple) and not 0 <= ends[0] <= ends[1]:
                    raise ValueError(f"{name} goes from {ends[0]} to {ends[1]}: 0 or more, and upwards")
        return degradations

    @field_validator("sharpened_targets")
    @classmethod
    def _sharpening(cls, values: dict[str, Any] | None) -> dict[str, Any] | None:
        """Validate the numbers, and keep them as written, too."""
        if values is not None:
            TypeAdapter(TargetSharpening).validate_python(values)
            try:
                TargetSharpening.of(values)
            except TypeError as error:  # an unknown key
                raise ValueError(str(error)) from None
        return values

    @model_validator(mode="after")
    def _teaching(self) -> Recipe:
        if self.teacher and self.degradation:
            raise ValueError("a teacher enlarges clean pictures only: leave out either teacher or degradation")
        if bool(self.teacher) != bool(self.distil):
            raise ValueError("teacher and distil (the weight of its loss) need each other: one of them is missing")
        if self.untaught and not self.teacher:
            raise ValueError("untaught names pictures that the teacher leaves out, but there is no teacher")
        return self

    @classmethod
    def read(cls, path: Path) -> Recipe:
        """Read a recipe. Raises RecipeError."""
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict):
                raise TypeError("it is not a mapping of keys to values")
            return cls(**values)
        except OSError as error:
            facts = error.strerror or str(error)
        except ValidationError as error:
            facts = findings(error)
        except (TypeError, UnicodeDecodeError, yaml.YAMLError) as error:
            facts = " ".join(str(error).split())
        raise RecipeError(f"{path} is not a recipe", facts, "Start from configs/train/fast-x3.yaml.")

    def degradations(self) -> list[Degradation]:
        """Return how pictures are degraded besides being scaled down; those of several take turns."""
        return [Degradation.of(values) for values in self.degradation]

    def sharpening(self) -> TargetSharpening | None:
        """Return how the pictures that the network learns to make are sharpened, or None."""
        return None if self.sharpened_targets is None else TargetSharpening.of(self.sharpened_targets)

    def photos(self, folders: Sequence[Path], device: str = "cpu") -> Photos:
        """Return the photographs in `folders`, prepared as the recipe says; the teacher works on `device`.

        Raises PhotosError, and what build_teacher() raises.
        """
        return Photos(
            folders,
            scale=self.scale,
            longest=self.longest,
            smallest=self.scale * self.crop,
            sizes=self.sizes,
            degradations=self.degradations(),
            sharpening=self.sharpening(),
            versions=self.versions,
            seed=self.seed,
            teacher=self.build_teacher(device),
            untaught=self.untaught,
        )

    def network(self) -> UpscalingNetwork:
        """Return the network to begin with.

        Raises RecipeError if the file to start from is missing, ExportError if it is none of ours, NetworkError if what
        it holds is too large.
        """
        torch.manual_seed(self.seed)
        network = UpscalingNetwork(scale=self.scale, channels=self.channels, depth=self.depth, expand=self.expand)
        if self.start:
            network.start_from(network_from_onnx(find_network("start", self.start)))
        return network

    def build_teacher(self, device: str = "cpu") -> Teacher | None:
        """Return the finished network to learn from beside the photographs, or None.

        Raises RecipeError and ExportError as network() does.
        """
        if not self.teacher:
            return None
        network = network_from_onnx(find_network("teacher", self.teacher))
        if network.scale != self.scale:
            raise ExportError(
                f"{self.teacher} cannot teach this network", f"it enlarges {network.scale} times, not {self.scale}"
            )
        return Teacher(network, device)

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of the files that the recipe names. Raises RecipeError if one is missing."""
        files = [
            (key, find_network(key, name)) for key, name in (("start", self.start), ("teacher", self.teacher)) if name
        ]
        return {f"content of {key}": hashlib.sha256(file.read_bytes()).hexdigest() for key, file in files}

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: linear warm-up, then a cosine down to 0.

        That is one cycle of SGDR (arXiv:1608.03983).
        """
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def values(self) -> dict[str, Any]:
        """Return what decides the outcome; not the names of data sets, because their content does, wherever it lies."""
        degradation = self.degradation[0] if len(self.degradation) == 1 else list(self.degradation) or None
        values = asdict(self) | {"sizes": list(self.sizes), "degradation": degradation}
        return {key: value for key, value in values.items() if key not in ("data", "calibration")}


def findings(error: ValidationError) -> str:
    """Return what pydantic found, on one line."""
    messages = []
    for entry in error.errors():
        key = ".".join(map(str, entry["loc"]))
        value = f", not {entry['input']!r}" if isinstance(entry["input"], str | int | float) else ""
        messages.append(f"{key}: {entry['msg']}{value}".removeprefix(": ").replace("Value error, ", ""))
    return "; ".join(messages)


def find_network(key: str, name: str) -> Path:
    """Return the file that a recipe names as its `key`. Raises RecipeError if it does not exist."""
    file, maker = ROOT / name, RECIPES_FOLDER / f"{Path(name).stem}.yaml"
    if not file.is_file():
        make = f"Make it first: scripts/reproduce.py {maker.stem} with the same --data."
        raise RecipeError(
            f"There is no {file}",
            f"the recipe names it as its {key}",
            make if maker.exists() else f"Give {key} the .onnx file of a finished network.",
        )
    return file
