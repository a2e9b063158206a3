"""Reading and writing .onnx files, complete or not at all, never over the file they are made from; and their inputs."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from engines.catalog import shipped as catalog
from engines.catalog.contract import STRENGTH_INPUT
from engines.catalog.onnx_metadata import properties
from engines.errors import ModelError, one_line
from engines.support import atomic_file


def read(file: Path) -> onnx.ModelProto:
    """Return the model in `file`. Raises ModelError."""
    fix = "Give the .onnx file of a model."
    try:
        return onnx.load(file)
    except OSError as error:
        raise ModelError(f"{file} cannot be read", error.strerror or str(error), fix) from None
    except Exception as error:  # protobuf's own
        raise ModelError(f"{file} is not an ONNX model", one_line(error), fix) from None


def check(target: Path, source: Path) -> None:
    """Check that `source` may be converted to `target`.

    Raises ModelError if that would overwrite `source`, or if the name of `target` has another scale.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise ModelError(f"{target} is the fp32 model itself", "it would be lost", "Give another path to write to.")
    if (scale := scale_of_file(source)) is not None:
        catalog.check_name(target, scale)


def scale_of_file(file: Path) -> int | None:
    """Return how many times `file` enlarges, by its metadata or else by its name.

    None if neither has it.
    """
    scale = properties(file).get("scale", "")
    return int(scale) if scale.isdecimal() else catalog.scale_in(file.name)


def save(model: onnx.ModelProto, file: Path) -> None:
    """Write `model` to `file`. Raises OSError, leaving an existing file as it was."""
    if file.is_dir():  # such as ".", which has no name that a file beside it could be given
        raise IsADirectoryError(errno.EISDIR, "there is a folder of that name")
    atomic_file.write_atomic(file, model.SerializeToString())


def takes_strength(model: onnx.ModelProto) -> bool:
    """Return whether `model` has the input for it (engines/catalog/contract.py)."""
    return any(port.name == STRENGTH_INPUT for port in model.graph.input)


def inputs_for(model: onnx.ModelProto, frame: NDArray[np.uint8], strength: float = 1) -> dict[str, NDArray[Any]]:
    """Return what to run `model` with: `frame`, uint8 [1, H, W, 3], and `strength` if it takes one."""
    inputs: dict[str, NDArray[Any]] = {"frame": frame}
    return inputs | ({STRENGTH_INPUT: np.array([strength], np.float32)} if takes_strength(model) else {})
