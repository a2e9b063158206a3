"""Files that a script writes when it has measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engines.errors import UserError
from engines.support import atomic_file


class ResultError(UserError):
    """What was measured cannot be written."""


def check(*files: Path | None) -> None:
    """Raises ResultError now for what could not be written at the end of a long run. None is no file."""
    for file in files:
        try:
            if file is not None:
                atomic_file.check(file)
        except OSError as error:
            raise _refused(file, error) from None


def write(file: Path, told: str | bytes) -> None:
    """Writes `file`, whose folder is made. Raises ResultError."""
    try:
        atomic_file.write_atomic(file, told.encode() if isinstance(told, str) else told, parents=True)
    except OSError as error:
        raise _refused(file, error) from None


def write_json(file: Path, told: Any) -> None:
    """The same of what JSON can tell."""
    write(file, json.dumps(told, indent=2) + "\n")


def _refused(file: Path | None, error: OSError) -> ResultError:
    return ResultError(f"{file} cannot be written", error.strerror or str(error), "Give another path.")
