"""Writing the files that a script leaves when it has measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engines.errors import UserError
from engines.support import atomic_file


class ResultError(UserError):
    """What was measured cannot be written."""


def check(*files: Path | None) -> None:
    """Raise ResultError now for a file that could not be written at the end of a long run.

    None stands for no file.
    """
    for file in files:
        try:
            if file is not None:
                atomic_file.check(file)
        except OSError as error:
            raise _refused(file, error) from None


def write(file: Path, content: str | bytes) -> None:
    """Write `file`, creating its folder. Raises ResultError."""
    try:
        atomic_file.write_atomic(file, content.encode() if isinstance(content, str) else content, parents=True)
    except OSError as error:
        raise _refused(file, error) from None


def write_json(file: Path, values: Any) -> None:
    """Write `file` as indented JSON. Raises ResultError."""
    write(file, json.dumps(values, indent=2) + "\n")


def _refused(file: Path | None, error: OSError) -> ResultError:
    return ResultError(f"{file} cannot be written", error.strerror or str(error), "Give another path.")
