"""What visitors read, by language: each is a YAML file here, or one of the owner's that takes its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from app.config.yaml_file import read_yaml
from app.errors import ConfigError

TEXTS_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Texts:
    """The texts of one language."""

    caption: str
    """Under the picture; {times} stands for how many times the pixels there are."""
    before: str
    """Label of the left side of the split view."""
    after: str
    """Label of its right side."""
    waiting: str
    """While the last picture is held."""
    attract: str
    """Over the attract loop."""
    fallback: str
    """While the engine is away and the picture is enlarged without it."""


def load(languages: Sequence[str], folder: Path | None = None) -> list[Texts]:
    """Load the texts of `languages`, each from `folder` if it has them. Raises ConfigError naming what is wrong."""
    if folder is not None:
        try:
            next(folder.iterdir(), None)
        except OSError as error:
            fix = "Give one with LANGUAGE.yaml files as kiosk.texts."
            raise ConfigError(f"{folder} is not a folder of texts", error.strerror or str(error), fix) from None
    return [_read(language, folder) for language in languages]


def _read(language: str, folder: Path | None) -> Texts:
    places = [*([folder] if folder is not None else []), TEXTS_FOLDER]
    path = next((place / f"{language}.yaml" for place in places if (place / f"{language}.yaml").is_file()), None)
    if path is None:
        known = sorted(p.stem for place in places for p in place.glob("*.yaml"))
        raise ConfigError(
            f"There are no texts in the language {language!r}",
            f"there are: {', '.join(dict.fromkeys(known))}",
            f"Copy {TEXTS_FOLDER / 'en.yaml'} to a folder of yours as {language}.yaml, and give that as kiosk.texts.",
        )
    data, names = read_yaml(path), [field.name for field in fields(Texts)]
    for key in [*(set(names) - set(data)), *(set(data) - set(names))]:
        why = "is missing" if key in names else "is not known"
        raise ConfigError(f"{path}: the key {key} {why}", f"the keys are: {', '.join(names)}")
    for key, value in data.items():
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f"{path}: {key} cannot be {value!r}", "it must be text", 'Put "quotes" around it.')
    # One line each: YAML's | and > leave line breaks, which no font can draw.
    return Texts(**{key: " ".join(map(str.strip, value.strip().splitlines())) for key, value in data.items()})
