"""The error for a path that does not exist."""

from __future__ import annotations

import contextlib
import difflib
from pathlib import Path

from app.errors import SourceError


def missing_file_error(path: Path) -> SourceError:
    """Return the error for a `path` that does not exist, with where it was looked for and similar names there."""
    where = path.absolute()
    folder = next(parent for parent in where.parents if parent.is_dir())
    if folder != where.parent:
        fix = f"The folder {where.parent} does not exist; {folder} does."
    else:
        names = {"demo": "demo"}
        with contextlib.suppress(OSError):  # a folder that may not be listed
            names = {entry.name.lower(): entry.name for entry in folder.iterdir()} | names
        near = [names[name] for name in difflib.get_close_matches(path.name.lower(), names, n=3, cutoff=0.5)]
        fix = f"Did you mean {' or '.join(near)}?" if near else "Check the name; a relative one starts at this folder."
    return SourceError(f"There is no file {path}", f"looked at {where}", fix)
