"""Shared memory between this process and a server on the same host, and who it belongs to.

A region has a name in /dev/shm only while the server opens it: Region.hide() takes the name away, and from then on the
memory lives exactly as long as somebody has it mapped, whatever dies. What the server has mapped is told by its own
list of regions, whose names tell the process they were made for.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHM_FOLDER = Path("/dev/shm")
REGION_PREFIX = "livesr"
_number = itertools.count()
_living: set[str] = set()
"""Names of this process's regions that are in use."""


def _namespace() -> str:
    """Process ids mean something within one of these only: containers may share memory and not processes."""
    return re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink()))


def _born(pid: int) -> str:
    """When a process started, in ticks since boot, as ids are used again; empty if there is none."""
    try:
        # proc(5): the name in brackets may hold spaces; starttime is the 22nd field.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _gone(pid: int, born: str) -> bool:
    """Whether a process has ended. One of another user's may not be seen in /proc (its mount option hidepid)."""
    if now := _born(pid):
        return now != born
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        pass
    return False


def new_name() -> str:
    """A name that tells whose it is, in use until forget()."""
    name = f"{REGION_PREFIX}-{_namespace()}-{os.getpid()}-{_born(os.getpid())}-{next(_number)}"
    _living.add(name)
    return name


def forget(name: str) -> None:
    """The region of this name is not used any more: if a server still knows it, abandoned() tells so."""
    _living.discard(name)


def available() -> bool:
    """Whether this system has what is needed here."""
    return SHM_FOLDER.is_dir() and Path("/proc/self/ns/pid").is_symlink()


def abandoned(name: str) -> bool:
    """Whether a region was made by a process that is gone, or by this one, which does not use it any more."""
    match = re.fullmatch(rf"{REGION_PREFIX}-(\d+)-(\d+)-(\d+)-\d+", name)
    if not match or match[1] != _namespace():
        return False
    pid, born = int(match[2]), match[3]
    return name not in _living if (pid, born) == (os.getpid(), _born(pid)) else _gone(pid, born)


def clean() -> None:
    """Take away names that processes left which died between creating and hiding a region."""
    for path in SHM_FOLDER.glob(f"{REGION_PREFIX}-*"):
        if abandoned(path.name):
            with contextlib.suppress(OSError):
                path.unlink()


class Region:
    """Memory that a server on the same host can map by its name, until hide(). Raises OSError.

    Nobody unmaps it under an array that is still in use: it goes with the last array that part() gave.
    """

    def __init__(self, size: int) -> None:
        self.name, self.size = new_name(), size
        handle = os.open(SHM_FOLDER / self.name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            os.posix_fallocate(handle, 0, size)  # a full /dev/shm is told now, not by SIGBUS later
            self._memory = mmap.mmap(handle, size)
        except BaseException:
            self.forget()
            raise
        finally:
            os.close(handle)

    @property
    def key(self) -> str:
        """Its name for shm_open(3)."""
        return f"/{self.name}"

    def part(self, offset: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Bytes from `offset` as an array of `shape`."""
        count = int(np.prod(shape))
        return np.frombuffer(self._memory, np.uint8, count, offset).reshape(shape)

    def hide(self) -> None:
        """Nobody else may map it from now on."""
        with contextlib.suppress(FileNotFoundError):
            (SHM_FOLDER / self.name).unlink()

    def forget(self) -> None:
        """It is not used any more."""
        self.hide()
        forget(self.name)
