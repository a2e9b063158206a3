"""A file that is to be written, and is another one of those that are named."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from app.config.schema import Config
from app.errors import ConfigError
from app.uri import STILLS, local
from engines.catalog import shipped as catalog


def check(config: Config, file: Path | None) -> None:
    """Raise ConfigError if something would be written over what is read, or written too. `file`: the configuration."""
    written = [
        (name, path)
        for name, path in (
            ("record", config.recording.file),
            ("snapshot", config.output.snapshot),
            ("stats", config.run.stats),
        )
        if path is not None
    ]
    pairs = itertools.chain(itertools.product(_read(config, file), written), itertools.combinations(written, 2))
    for (one, path), (other, same) in pairs:
        if (known := _identity(path)) and known == _identity(same):
            raise ConfigError(f"{one} and {other} are the same file", str(same), "Give one of them another name.")
    there = {_identity(path): (name, path) for name, path in written if _state(path) is not None}
    for picture in _pictures(config) if there else ():  # there may be a hundred thousand
        if (known := _identity(picture)) in there and known is not None:
            name, path = there[known]
            raise ConfigError(f"{name} is one of the source's pictures", str(path), "Give it another name.")


def _read(config: Config, file: Path | None) -> Iterator[tuple[str, Path]]:
    """What the run reads, by the names of the options."""
    triton, kiosk = config.triton, config.kiosk
    others = {
        "config": file,
        "font": kiosk.font,
        "tls-ca": triton.tls_ca,
        "tls-certificate": triton.tls_certificate,
        "tls-key": triton.tls_key,
        "token-file": triton.token_file,
        "source": local(config.input.source or "demo"),
        "attract": local(kiosk.attract),
    }
    yield from ((name, path) for name, path in others.items() if path)
    for model in (config.engine.model, *config.governor.models):
        if catalog.is_path(model):
            yield "model", Path(model)


def _pictures(config: Config) -> Iterator[Path]:
    """Those of a source that is a folder or a pattern. One that cannot be read is told when it is opened."""
    source = local(config.input.source or "demo")
    if source and not source.is_file():
        from app.sources.images import listed

        with contextlib.suppress(OSError):
            yield from (path for path in listed(source) if path.suffix.lower() in STILLS)


def _identity(path: Path) -> object:
    """What all names of a file have in common, links of both kinds among them; None for what is no file."""
    if (
        state := _state(path)
    ) is None:  # new/../film.mp4 is not there before the folder new is, and then it is film.mp4
        path = Path(os.path.realpath(path))
        state = _state(path)
    if state is None:
        return path
    return (state.st_dev, state.st_ino) if stat.S_ISREG(state.st_mode) else None


def _state(path: Path) -> os.stat_result | None:
    with contextlib.suppress(OSError):
        return path.stat()
    return None
