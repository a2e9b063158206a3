"""Writing .onnx files: whole or not at all."""

from __future__ import annotations

import errno
from pathlib import Path

import onnx

from engines import whole


def save(model: onnx.ModelProto, file: Path) -> None:
    """Write `model` to `file`. Raises OSError, with what was there before left as it was."""
    if file.is_dir():  # such as ".", which has no name that a file beside it could be given
        raise IsADirectoryError(errno.EISDIR, "there is a folder of that name")
    whole.write(file, model.SerializeToString())
