"""The checked-in list of photographs that anybody may use, and the credits it owes."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from engines.errors import UserError

LIST = Path(__file__).resolve().parents[2] / "configs/train/data/free-photographs.yaml"
FREE_LICENCE = re.compile(r"public domain|CC0-1\.0|CC-BY(-SA)?-[1-4]\.\d(-[A-Z]{2})?")
"""What counts as free; the GPL alone does not, because it is not clear what it asks of weights."""
NOTICE_HEADING = "Photographs that free networks learn from: configs/train/data/free-photographs.yaml"


class PhotographListError(UserError):
    """The list of free photographs does not hold what it should."""


@dataclass(frozen=True)
class PhotographSource:
    """Where photographs come from: a Debian package or a git repository."""

    stated: str
    """Where the terms are stated."""
    package: str = ""
    version: str = ""
    suite: str = ""
    repository: str = ""

    @property
    def title(self) -> str:
        """What it is, in words."""
        return self.repository or f"Debian package {self.package} {self.version} ({self.suite})"

    @property
    def command(self) -> str:
        """The command that brings it onto a machine."""
        return f"git clone {self.repository}" if self.repository else f"apt install {self.package}"


@dataclass(frozen=True)
class Photograph:
    """One photograph of the list."""

    source: PhotographSource
    file: str
    """File name; the path, in a repository."""
    sha256: str
    licence: str
    author: str
    size: tuple[int, int]
    """Width and height in pixels."""
    detail: float
    """Mean absolute error of bicubic interpolation, in grey levels; the list says of what."""
    blob: str = ""
    """Git's name of its content, in a repository."""
    commit: str = ""
    copy: str = ""
    """SHA-256 of the same, scaled down to 1440 pixels; empty where there is none."""

    @property
    def name(self) -> str:
        """Its file name without folders."""
        return Path(self.file).name

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.size[0] * self.size[1] / 1e6


def read(path: Path = LIST) -> list[Photograph]:
    """Read the list in `path`.

    Raises:
        PhotographListError: It is not of the form that LIST describes, names a photograph twice, or one that is not
            free.
    """
    try:
        photographs = []
        for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
            entries = entry.pop("photographs")
            source = PhotographSource(**entry)
            photographs += [Photograph(source, **{**values, "size": tuple(values["size"])}) for values in entries]
    except (OSError, TypeError, KeyError, AttributeError, ValueError, yaml.YAMLError) as error:
        facts = " ".join(str(error).split())
        raise PhotographListError(
            f"{path} is not a list of photographs", facts, f"Use {LIST} as the pattern."
        ) from None
    for photograph in photographs:
        if not FREE_LICENCE.fullmatch(photograph.licence):
            raise PhotographListError(
                f"{photograph.file} is not free",
                f"its licence is {photograph.licence}",
                "Take it out of the list: CC0, CC BY, CC BY-SA and the public domain count as free.",
            )
    digests = [photograph.sha256 for photograph in photographs]
    if twice := sorted({photograph.file for photograph in photographs if digests.count(photograph.sha256) > 1}):
        raise PhotographListError(f"{path} names a photograph twice", ", ".join(twice), "Remove one of them.")
    return photographs


def address(licence: str) -> str:
    """Return where the text of a licence is; empty for the public domain."""
    if licence == "CC0-1.0":
        return "creativecommons.org/publicdomain/zero/1.0"
    match = re.fullmatch(r"CC-(BY|BY-SA)-([\d.]+)(?:-([A-Z]{2}))?", licence)
    if not match:
        return ""
    country = f"/{match[3].lower()}" if match[3] else ""
    return f"creativecommons.org/licenses/{match[1].lower()}/{match[2]}{country}"


def attributions(photographs: Sequence[Photograph]) -> str:
    """Return the section of NOTICE that names all photographs, their authors and their licences, as text."""
    lines = [
        NOTICE_HEADING,
        *_wrapped(
            "Written by scripts/free_photographs.py --notice. No photograph is part of this project. Changed for "
            "training: scaled down, cropped, turned, made worse as a webcam would.",
            "    ",
        ),
    ]
    for source, group in itertools.groupby(photographs, key=lambda photograph: photograph.source):
        lines += _wrapped(f"From {source.title.removeprefix('https://')}; terms: {source.stated}.", "    ")
        by_licence: dict[str, dict[str, list[str]]] = {}
        for photograph in group:
            by_licence.setdefault(photograph.licence, {}).setdefault(photograph.author, []).append(photograph.name)
        for licence, authors in sorted(by_licence.items()):
            where = f" ({address(licence)})" if address(licence) else ""
            works = "; ".join(f"{author}: {', '.join(names)}" for author, names in authors.items())
            lines += _wrapped(f"{licence}{where}. {works}.", "        ")
    return "\n".join(lines) + "\n"


def _wrapped(text: str, indent: str) -> list[str]:
    wrapper = textwrap.TextWrapper(120, indent, indent, break_on_hyphens=False, break_long_words=False)
    return wrapper.wrap(text)
