"""FragmentFile: a file that grows by whole fragments, whatever happens to the disk or to the program."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

BUFFER = 8 << 20
"""Bytes that a muxer may collect: a fragment reaches the system in one call, which a kill does not cut in two."""


class FragmentFile:
    """For av.open(): what the muxer flushes is written whole, or taken back if the disk does not take all of it."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o666)
        self.name = str(path)

    def write(self, data: bytes) -> int:
        """All of `data`. Raises OSError, with the file as it was before."""
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
        """Idempotent. The container does not do it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
