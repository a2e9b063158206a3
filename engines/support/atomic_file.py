"""Files that are written completely or not at all."""

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
"""How long whoever reads a pipe may take."""
OPEN_FILES = re.compile(r"/dev/(stdout|stderr|fd/\d+)|/proc/.+")
"""Names of what a process has open already, be it a file: that is appended to, and not replaced behind its back."""


def write_atomic(path: Path, data: bytes, *, parents: bool = False, pipe_timeout: float = PIPE_TIMEOUT_S) -> None:
    """Replace what `path` holds by `data`; of a link the file that it leads to is replaced, not the link.

    Data for a pipe or a device, such as /dev/stdout, are appended: no file may take the place of one.

    Args:
        path: The file.
        data: All of its content.
        parents: Make missing folders.
        pipe_timeout: Seconds that whoever reads a pipe may take.

    Raises:
        OSError: It cannot be written. A file holds what it held, and nothing else is left.
        TimeoutError: A pipe is not read.
    """
    if _is_appended_to(path):
        _append(path, data, pipe_timeout)
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
    """Raise OSError if write_atomic() with `parents` could not write there now. Leaves no file or folder behind."""
    if _is_appended_to(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return
    place = _place(path)
    existing = next(folder for folder in place.parents if _mode(folder) is not None)
    if (mode := _mode(place)) is not None and stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "there is a folder of that name")
    # Where folders are missing, whoever may make a file may make a folder.
    partial = _partial(existing)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    partial.unlink()


def _append(path: Path, data: bytes, timeout: float) -> None:
    """Write behind what is there. A pipe that nobody has opened to read is an error at once."""
    flow = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
    until, left = time.monotonic() + timeout, memoryview(data)
    try:
        while left:
            try:
                left = left[os.write(flow, left) :]
            except BlockingIOError:
                if not select.select([], [flow], [], max(0.0, until - time.monotonic()))[1]:
                    raise TimeoutError(errno.ETIMEDOUT, f"nobody has read it for {timeout:g} s") from None
    finally:
        os.close(flow)


def _is_appended_to(path: Path) -> bool:
    """Whether it is a pipe, a character device, or open already.

    Raises OSError for what is neither this, nor a file, nor a folder.
    """
    mode = _mode(path)
    if mode is None or stat.S_ISDIR(mode):
        return False
    if stat.S_ISREG(mode):
        return bool(OPEN_FILES.fullmatch(str(path.absolute())))
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
        raise OSError(errno.EINVAL, "it is neither a file nor a pipe")
    return True


def _mode(path: Path) -> int | None:
    """The mode by stat(2); None if there is nothing. Raises OSError for what may not be read, or cannot be a name."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mode
    return None


def _place(path: Path) -> Path:
    """Where `path` leads, through links."""
    return Path(os.path.realpath(path))


def _partial(folder: Path) -> Path:
    """A new name in `folder`: of its own, as others may write there just now, and short, as `path` may be long."""
    return folder / f".livesr-{os.getpid()}-{time.monotonic_ns()}.part"
