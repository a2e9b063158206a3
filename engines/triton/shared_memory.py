"""Shared memory between this process and a server on the same host, and who it belongs to.

A region has a name in /dev/shm only while the server opens it: Region.hide() takes the name away, and from then on the
memory lives exactly as long as somebody has it mapped, whatever dies. What the server has mapped is in its own list of
regions, whose names contain the process they were made for.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import re
import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHM_FOLDER = Path("/dev/shm")
REGION_PREFIX = "livesr"


def _namespace() -> str:
    """The namespace in which process ids mean something: containers may share memory and not processes."""
    return re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink()))


def _start_time(pid: int) -> str:
    """When a process started, in ticks since boot, as ids are used again; empty if there is none."""
    try:
        # proc(5): the name in brackets may hold spaces; starttime is the 22nd field.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _is_gone(pid: int, started: str) -> bool:
    """Whether a process has ended. One of another user's may not be seen in /proc (its mount option hidepid)."""
    if now := _start_time(pid):
        return now != started
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        pass
    return False


class RegionNames:
    """The names of this process's regions that are in use. There is one for the process: REGION_NAMES."""

    def __init__(self) -> None:
        """Begin without names."""
        self._lock = threading.Lock()
        self._count = itertools.count()  # guarded by _lock, as is the next line
        self._in_use: set[str] = set()

    def new(self) -> str:
        """Return a name that says whose it is, in use until release()."""
        with self._lock:
            pid = os.getpid()
            name = f"{REGION_PREFIX}-{_namespace()}-{pid}-{_start_time(pid)}-{next(self._count)}"
            self._in_use.add(name)
            return name

    def release(self, name: str) -> None:
        """Note that the region is not used any more: if a server still knows it, is_abandoned() says so."""
        with self._lock:
            self._in_use.discard(name)

    def is_abandoned(self, name: str) -> bool:
        """Return whether a region's process is gone, or is this one, which does not use it any more."""
        match = re.fullmatch(rf"{REGION_PREFIX}-(\d+)-(\d+)-(\d+)-\d+", name)
        if not match or match[1] != _namespace():
            return False
        pid, started = int(match[2]), match[3]
        if (pid, started) == (os.getpid(), _start_time(pid)):
            with self._lock:
                return name not in self._in_use
        return _is_gone(pid, started)


REGION_NAMES = RegionNames()


def is_available() -> bool:
    """Return whether this system has what is needed here."""
    return SHM_FOLDER.is_dir() and Path("/proc/self/ns/pid").is_symlink()


def remove_abandoned_files(names: RegionNames = REGION_NAMES) -> None:
    """Remove names that processes left which died between creating and hiding a region."""
    for path in SHM_FOLDER.glob(f"{REGION_PREFIX}-*"):
        if names.is_abandoned(path.name):
            with contextlib.suppress(OSError):
                path.unlink()


class Region:
    """Memory that a server on the same host can map by its name, until hide().

    Nobody unmaps it under an array that is still in use: it goes with the last array that view() returned.
    """

    def __init__(self, size: int, names: RegionNames = REGION_NAMES) -> None:
        """Create `size` bytes. Raises OSError."""
        self._names = names
        self.name, self.size = names.new(), size
        handle = -1
        try:
            handle = os.open(SHM_FOLDER / self.name, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
            os.posix_fallocate(handle, 0, size)  # a full /dev/shm is an error now, and not SIGBUS later
            self._memory = mmap.mmap(handle, size)
        except BaseException:
            self.release()
            raise
        finally:
            if handle >= 0:
                os.close(handle)

    @property
    def key(self) -> str:
        """Its name for shm_open(3)."""
        return f"/{self.name}"

    def view(self, offset: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return the bytes from `offset` as an array uint8 of `shape`, which keeps the memory mapped."""
        count = int(np.prod(shape))
        return np.frombuffer(self._memory, np.uint8, count, offset).reshape(shape)

    def hide(self) -> None:
        """Let nobody else map it from now on."""
        with contextlib.suppress(FileNotFoundError):
            (SHM_FOLDER / self.name).unlink()

    def release(self) -> None:
        """Note that it is not used any more."""
        self.hide()
        self._names.release(self.name)
