"""Refuses a run that would write over what it reads, or write one file twice."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from app.config.fields import flag_of, info_of
from app.config.schema import SECTIONS, Config
from app.errors import ConfigError
from app.uri import STILLS, local
from engines.catalog import shipped as catalog


def check_overwrites(config: Config, file: Path | None) -> None:
    """Raise ConfigError if a file that is written is read as well, or written twice. `file`: the configuration's."""
    read, written = _files(config)
    if file is not None:
        read.append(("config", file))
    pairs = itertools.chain(itertools.product(read, written), itertools.combinations(written, 2))
    for (name, path), (other, other_path) in pairs:
        if (known := _identity(path)) and known == _identity(other_path):
            raise ConfigError(
                f"{name} and {other} are the same file", str(other_path), "Give one of them another name."
            )
    existing = {_identity(path): (name, path) for name, path in written if _stat(path) is not None}
    for picture in _pictures(config) if existing else ():  # there may be a hundred thousand
        if (known := _identity(picture)) in existing and known is not None:
            name, path = existing[known]
            raise ConfigError(f"{name} is one of the source's pictures", str(path), "Give it another name.")


Files = list[tuple[str, Path]]
"""Flags and the files that they name."""


def _files(config: Config) -> tuple[Files, Files]:
    """What the run reads and what it writes, as the fields of the schema say."""
    read, written = Files(), Files()
    for section, kind in SECTIONS.items():
        for name, field in kind.model_fields.items():
            info, value = info_of(field), getattr(getattr(config, section), name)
            for item in value if isinstance(value, tuple) else (value,):
                path = _path(info.reads, item) if info.reads else item
                if (info.reads or info.writes) and path is not None:
                    (written if info.writes else read).append((flag_of(name, field), path))
    return read, written


def _path(reads: str, value: str | Path | None) -> Path | None:
    """The file that `value` names; None where it names none, as demo and the name of a shipped model do."""
    if value is None or isinstance(value, Path):
        return value
    if reads == "source":
        return local(value)
    return Path(value) if catalog.is_path(value) else None


def _pictures(config: Config) -> Iterator[Path]:
    """The pictures of a source that is a folder or a pattern. Opening the source reports one that cannot be read."""
    source = local(config.input.source or "demo")
    if source and not source.is_file():
        from app.sources.images import listed

        with contextlib.suppress(OSError):
            yield from (path for path in listed(source) if path.suffix.lower() in STILLS)


def _identity(path: Path) -> object:
    """What all names of a file have in common, symbolic and hard links included; None for what is no regular file."""
    found = _stat(path)
    if found is None:  # new/../film.mp4 cannot be found until the folder new is made, and then it is film.mp4
        path = Path(os.path.realpath(path))
        found = _stat(path)
    if found is None:
        return path
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _stat(path: Path) -> os.stat_result | None:
    with contextlib.suppress(OSError):
        return path.stat()
    return None
