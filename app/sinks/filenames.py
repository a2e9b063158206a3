"""Of files that take no other file's place."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

begun: set[Path] = set()
"""What this process was asked for by name and has written: after a reload it goes on under another name."""


def fresh(path: Path) -> Path:
    """`path`, or another name if it is in `begun`: a reload takes the place of nothing that the run before has made."""
    return unused(path) if path.absolute() in begun else path


def unused(path: Path) -> Path:
    """`path`, or the first of path-2, path-3 ... that is not there yet: a key can be pressed twice in a second."""
    return next(name for name in numbered(path) if not name.exists())


def move(path: Path, wanted: Path) -> Path:
    """Give the file `path` the name `wanted`, or the first of wanted-2 ... that is free, and return it. Raises OSError.

    Two programs that record into one folder may want the same name in the same moment, and neither gets the other's.
    """
    for name in numbered(wanted):
        try:
            os.link(path, name)
        except FileExistsError:
            continue
        except OSError:  # a file system without links, as memory cards have it
            return path.rename(unused(name))
        path.unlink()
        return name
    raise AssertionError("numbers do not end")


def numbered(path: Path) -> Iterator[Path]:
    """path, path-2, path-3 ..."""
    return (path if n == 1 else path.with_stem(f"{path.stem}-{n}") for n in itertools.count(1))
