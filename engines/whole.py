"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import time
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """`data` in place of what `path` held. Raises OSError; then `path` holds what it held, and nothing else is left."""
    partial = path.with_name(f"{path.name}.{time.monotonic_ns()}.part")  # of its own: others may write it just now
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def check(path: Path) -> None:
    """Make the folder of `path`. Raises OSError if write() could not write there now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "there is a folder of that name")
    partial = path.with_name(path.name + ".part")
    partial.touch()
    partial.unlink()
