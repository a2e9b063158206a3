"""Writing .onnx files: whole or not at all, and never over the one they are made from."""

from __future__ import annotations

import errno
from pathlib import Path

import onnx

from engines import catalog, whole
from engines.properties import properties


def is_made_from(file: Path, source: Path) -> bool:
    """Whether writing `file` would overwrite `source`."""
    return file.exists() and source.exists() and file.samefile(source)


def enlarges(file: Path) -> int | None:
    """How many times, by what `file` says of itself or else its name; None if neither tells."""
    told = properties(file).get("scale", "")
    return int(told) if told.isdecimal() else catalog.scale_in(file.name)


def save(model: onnx.ModelProto, file: Path) -> None:
    """Write `model` to `file`. Raises OSError, with what was there before left as it was."""
    if file.is_dir():  # such as ".", which has no name that a file beside it could be given
        raise IsADirectoryError(errno.EISDIR, "there is a folder of that name")
    whole.write(file, model.SerializeToString())
