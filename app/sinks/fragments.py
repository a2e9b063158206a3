"""FragmentFile: a file that grows by whole fragments, whatever happens to the disk or to the program."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

BUFFER = 8 << 20
"""Bytes that a muxer may collect: a fragment reaches the system in one call, which a kill does not cut in two."""


class FragmentFile:
    """For av.open(): what the muxer flushes is written whole, or taken back if the disk does not take all of it.

    What the file held before is lost with the first write and not earlier, for what is to be recorded may never come.
    Another process's file is let alone as long as that writes it.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError; BlockingIOError if another one has it open."""
        self._new, self._begun = not path.exists(), False
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        self.name = str(path)
        try:
            lock(self._file)
        except BlockingIOError:
            os.close(self._file)
            raise

    def write(self, data: bytes) -> int:
        """All of `data`. Raises OSError, with the file as it was before."""
        if not self._begun:
            self._begun = True
            os.ftruncate(self._file, 0)
        before = os.lseek(self._file, 0, os.SEEK_CUR)
        size = os.fstat(self._file).st_size
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            os.ftruncate(self._file, size)
            os.lseek(self._file, before, os.SEEK_SET)
            raise
        return len(data)

    def read(self, count: int) -> bytes:
        return os.read(self._file, count)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self._file, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._file, 0, os.SEEK_CUR)

    def __enter__(self) -> FragmentFile:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent. The container does not do it. A file into which nothing came is gone again."""
        if self._file >= 0:
            if self._new and not self._begun:
                with contextlib.suppress(OSError):
                    Path(self.name).unlink()
            os.close(self._file)
            self._file = -1


def lock(file: int) -> None:
    """For as long as it is open. Raises BlockingIOError if another one holds it."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass  # a file system that knows no locks
