"""The models that ship with the program, what a file name says about a model, and what its card says.

A name reads NAME-x<scale>[-<precision>].onnx; without a precision it is fp32. The files of one NAME and scale share a
card, NAME-x<scale>.md: Markdown for people, headed by front matter in YAML for --list, every key of which may be left
out, as may the card:

    ---
    use: files and other clean pictures
    terms: research use only
    parameters: 12964
    psnr:
      fp32: {Set5: 37.21, Set14: 32.86}
      int8: {Set5: 37.15, Set14: 32.8}
    ---

`use` says in a few words what the model is for, `terms` on what terms it may be used (engines/catalog/terms.py; files
say the same in their metadata, and are for research use only where they say nothing), `parameters` is the number in the
files' metadata, and `psnr` has for each precision the decibels that scripts/evaluate.py measures, by test set.
"""

from __future__ import annotations

import difflib
import errno
import itertools
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engines.catalog.terms import FREE, RESEARCH_ONLY, combined, stated_terms
from engines.errors import ModelError

log = logging.getLogger(__name__)

MODELS_FOLDER = Path(__file__).parent.parent / "models"

FILE_MODEL, CAMERA_MODEL = "fast", "fast-webcam"
"""The models for pictures that are clean and for those of a camera, whose noise and blocks must not be sharpened."""
DEFAULT_SCALE = 2
"""How many times larger, where nothing says otherwise."""


@dataclass(frozen=True)
class ShippedModel:
    """One shipped .onnx file."""

    name: str
    scale: int
    precision: str
    path: Path

    @property
    def names(self) -> tuple[str, str, str]:
        """What it may be called, from vague to exact: fast, fast-x2, fast-x2-fp32."""
        return self.name, f"{self.name}-x{self.scale}", f"{self.name}-x{self.scale}-{self.precision}"

    @property
    def kind(self) -> str:
        """What it is for: webcam of fast-webcam; empty for clean pictures."""
        return self.name.partition("-")[2]

    @property
    def terms(self) -> str:
        """On what terms it may be used; RESEARCH_ONLY where the file does not say."""
        return stated_terms(self.path) or RESEARCH_ONLY


@dataclass(frozen=True)
class ModelCard:
    """What the card of a model says to programs; empty where it says nothing."""

    use: str = ""
    terms: str = ""
    parameters: int | None = None
    psnr: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """dB, by precision and test set."""

    @classmethod
    def of(cls, file: Path) -> ModelCard:
        """Return the card in `file`. Front matter that cannot be read is logged, and counts as empty."""
        import yaml  # here and not at the top: only --list and tests want it

        try:
            text = file.read_text(encoding="utf-8")
            match = re.match(r"---\n(.*?)^---$", text, re.DOTALL | re.MULTILINE)
            card = cls(**yaml.safe_load(match[1])) if match else cls()
            card.check()
            return card
        except FileNotFoundError:
            return cls()
        except (OSError, UnicodeDecodeError, TypeError, yaml.YAMLError) as error:
            log.warning("%s is not a card: %s", file, " ".join(str(error).split()))
            return cls()

    def check(self) -> None:
        """Raise TypeError if a value is not of the type that programs expect."""
        valid = {
            "use": isinstance(self.use, str),
            "terms": isinstance(self.terms, str),
            "parameters": isinstance(self.parameters, int | None),
            "psnr": isinstance(self.psnr, Mapping) and all(map(decibels, self.psnr.values())),
        }
        for key in (key for key, fits in valid.items() if not fits):
            raise TypeError(f"{key} cannot be {getattr(self, key)!r}")


def decibels(values: object) -> bool:
    """Return whether these are numbers by name."""
    return isinstance(values, Mapping) and all(isinstance(value, int | float) for value in values.values())


def shipped() -> list[ShippedModel]:
    """Return all shipped models, sorted by name, scale and precision."""
    models = []
    for path in sorted(MODELS_FOLDER.glob("*.onnx")):
        match = re.fullmatch(r"(.+)-x(\d+)(?:-(fp16|int8))?", path.stem)
        if match:
            models.append(ShippedModel(match[1], int(match[2]), match[3] or "fp32", path))
    return models


def families() -> list[tuple[list[ShippedModel], ModelCard]]:
    """Return the shipped models by name and scale: one network in several precisions each, and its card."""
    return [
        (list(models), ModelCard.of(MODELS_FOLDER / f"{name}-x{scale}.md"))
        for (name, scale), models in itertools.groupby(shipped(), lambda model: (model.name, model.scale))
    ]


def network_terms(files: Sequence[ShippedModel]) -> str:
    """Return the terms of one network, whichever of its `files` is taken."""
    return combined(model.terms for model in files)


def terms_of(path: Path) -> str:
    """Return on what terms the model in `path` may be used; empty for a file from elsewhere that does not say."""
    models = shipped()
    network = next((model.names[1] for model in models if model.path == path), None)
    return network_terms([model for model in models if model.names[1] == network]) if network else stated_terms(path)


def usual(*, camera: bool, scale: int | None = None) -> str:
    """Return the name of the model for pictures of a camera or for others, where nobody has named one.

    Of those for the same pictures one that is free in all its precisions is preferred, then CAMERA_MODEL or FILE_MODEL,
    then the smallest. For a camera without a model in that scale it is one for clean pictures.
    """
    of_scale = [model for model in shipped() if model.scale == (scale or DEFAULT_SCALE)]
    default = CAMERA_MODEL if camera else FILE_MODEL
    kind = default.partition("-")[2]
    fitting = [model for model in of_scale if model.kind == kind]
    if camera and not fitting:
        return usual(camera=False, scale=scale)

    def rank(name: str) -> tuple[bool, bool, int]:
        files = [model for model in fitting if model.name == name]
        return network_terms(files) != FREE, name != default, min(model.path.stat().st_size for model in files)

    return min({model.name for model in fitting}, key=rank, default=default)


def scale_in(name: str) -> int | None:
    """Return the scale in the name of a model or the path of its file: 2 of fast-x2-int8; None if there is none."""
    match = re.search(r"-x([1-8])(-|$)", Path(name).name.removesuffix(".onnx"))
    return int(match[1]) if match else None


def check_name(file: Path, scale: int) -> None:
    """Raise ModelError if the name of `file` states another scale than that of the network it is for."""
    named = scale_in(file.name)
    if named not in (None, scale):
        raise ModelError(
            f"{file} is a wrong name for a network that enlarges {scale} times",
            f"-x{named} in the name says that it enlarges {named} times",
            f"Call it {file.name.replace(f'-x{named}', f'-x{scale}')}.",
        )


def is_path(name: str) -> bool:
    """Return whether `name` is that of a file, and not of a model that is shipped."""
    return name.endswith(".onnx") or "/" in name


def find(name: str, precisions: Sequence[str] = ("fp32",), scale: int | None = None) -> Path:
    """Return the file of a model given as NAME, NAME-xS, NAME-xS-PRECISION or a path.

    Where the name leaves it open, `scale` or else the smallest one, then the first of `precisions`, which an engine
    gives in the order of its liking, wins. Raises ModelError naming what there is.
    """
    if is_path(name):
        try:
            exists = Path(name).is_file()
            if exists and not os.access(name, os.R_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise ModelError(
                f"The model file {name} cannot be read", error.strerror or str(error), "Check who may read it."
            ) from None
        if not exists:
            raise ModelError(
                f"There is no model file {name}",
                f"looked in {Path(name).absolute().parent}",
                "Give the path of an .onnx file, or a name from --list.",
            )
        return Path(name)

    def rank(model: ShippedModel) -> tuple[int, int]:
        liked = precisions.index(model.precision) if model.precision in precisions else len(precisions)
        return model.scale, liked

    models = shipped()
    called = [model for model in models if name in model.names]
    if fitting := [model for model in called if scale in (None, model.scale)]:
        return min(fitting, key=rank).path
    if called:
        raise wrong_scale(name, sorted({model.scale for model in called}), scale)
    names = sorted({m.name for m in models})
    near = difflib.get_close_matches(name, [known for m in models for known in m.names], 1)
    raise ModelError(
        f"There is no model called {name}",
        f"the shipped models are: {', '.join(names)}",
        f"Did you mean {near[0]}?" if near else "Give one of these, or the path of an .onnx file.",
    )


def wrong_scale(name: str, scales: Sequence[int], wanted: int | None) -> ModelError:
    """Return the error for a model that enlarges by `scales` when another is `wanted`."""
    existing = ", ".join(f"x{scale}" for scale in scales)
    return ModelError(
        f"The model {name} does not enlarge {wanted} times",
        f"it exists as {existing}",
        f"Give --scale {scales[0]} or leave it out, or choose another --model; --list shows them.",
    )
