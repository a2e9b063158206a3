"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import stat
import time
from pathlib import Path

PIPE_TIMEOUT_S = 10.0
"""Seconds that whoever reads a pipe may take."""
OPEN_FILES = re.compile(r"/dev/(stdout|stderr|fd/\d+)|/proc/.+")
"""Names of what a process has open already, be it a file: that is written on, and not replaced behind its back."""


def write_atomic(path: Path, data: bytes, *, parents: bool = False) -> None:
    """`data` in place of what `path` held. Of a link what it leads to is replaced, not the link.

    With `parents` its folder is made. Into a pipe or a device, such as /dev/stdout, it is written as it is: no file may
    take the place of one. Raises OSError, TimeoutError for a pipe that is not read; then a file holds what it held, and
    nothing else is left.
    """
    if _flows(path):
        _pour(path, data)
        return
    place = _place(path)
    if parents:
        place.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(place.parent)
    try:
        partial.write_bytes(data)
        partial.replace(place)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def check(path: Path) -> None:
    """Raises OSError if write() with `parents` could not write there now. Leaves nothing behind, no folder either."""
    if _flows(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    place = _place(path)
    there = next(folder for folder in place.parents if _mode(folder) is not None)
    if (mode := _mode(place)) is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "there is a folder of that name")
    # Where folders are missing, whoever may make a file may make a folder.
    partial = _partial(there)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    partial.unlink()


def _pour(path: Path, data: bytes) -> None:
    """Behind what is there. A pipe that nobody has opened to read is an error at once."""
    flow = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
    until, left = time.monotonic() + PIPE_TIMEOUT_S, memoryview(data)
    try:
        while left:
            try:
                left = left[os.write(flow, left) :]
            except BlockingIOError:
                if not select.select([], [flow], [], max(0.0, until - time.monotonic()))[1]:
                    raise TimeoutError(errno.ETIMEDOUT, f"nobody has read it for {PIPE_TIMEOUT_S:g} s") from None
    finally:
        os.close(flow)


def _flows(path: Path) -> bool:
    """Whether it is written on: a pipe, a character device, what is open already. Raises OSError for what is neither
    this, nor a file, nor a folder."""
    mode = _mode(path)
    if mode is None or stat.S_ISDIR(mode):
        return False
    if stat.S_ISREG(mode):
        return bool(OPEN_FILES.fullmatch(str(path.absolute())))
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        raise OSError(errno.EINVAL, "it is neither a file nor a pipe")
    return True


def _mode(path: Path) -> int | None:
    """As stat tells; None if there is nothing. Raises OSError for what may not be looked at, or can be no name."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mode
    return None


def _place(path: Path) -> Path:
    """Where `path` leads."""
    return Path(os.path.realpath(path))


def _partial(folder: Path) -> Path:
    """A new name in `folder`: of its own, as others may write there just now, and short, as `path` may be long."""
    return folder / f".livesr-{os.getpid()}-{time.monotonic_ns()}.part"
