"""Writing .onnx files: whole or not at all."""

from __future__ import annotations

from pathlib import Path

import onnx

from engines import whole


def save(model: onnx.ModelProto, file: Path) -> None:
    """Write `model` to `file`. Raises OSError, with what was there before left as it was."""
    whole.write(file, model.SerializeToString())
