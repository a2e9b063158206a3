"""Names of files that take no other file's place."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path


class Filenames:
    """The files that were asked for by name and have been written since the program began.

    After a reload a session that is to write the same file goes on under another name: it must not replace what the
    session before has made. Any thread may use it.
    """

    def __init__(self) -> None:
        self.written: set[Path] = set()  # absolute; only ever added to, in one step each

    def add(self, path: Path) -> None:
        """Take note that `path` has been written."""
        self.written.add(path.absolute())

    def new_name(self, path: Path) -> Path:
        """Return `path`, or a free name like it if this program has written `path` already."""
        return unique_name(path) if path.absolute() in self.written else path


def unique_name(path: Path) -> Path:
    """Return `path`, or the first of path-2, path-3 ... that does not exist: a key can be pressed twice in a second.

    A link that leads nowhere is somebody's, too, and what it leads to may be out of reach.
    """
    return next(name for name in numbered(path) if not os.path.lexists(name))


def rename_without_replacing(path: Path, wanted: Path) -> Path:
    """Rename the file `path` to `wanted`, or to the first free one of wanted-2 ..., and return it. Raises OSError.

    Two programs that record into one folder may want the same name at the same moment; neither gets the other's.
    """
    for name in numbered(wanted):
        try:
            os.link(path, name)
        except FileExistsError:
            continue
        except OSError:  # a file system without links, as on memory cards
            return path.rename(unique_name(name))
        path.unlink()
        return name
    raise AssertionError("numbers do not end")


def numbered(path: Path) -> Iterator[Path]:
    """Yield path, path-2, path-3 ..."""
    return (path if n == 1 else path.with_stem(f"{path.stem}-{n}") for n in itertools.count(1))
