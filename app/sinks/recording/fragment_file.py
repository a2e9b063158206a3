"""A file that grows by whole fragments, whatever happens to the disk or to the program."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

BUFFER = 8 << 20
"""Bytes that a muxer may collect: a fragment reaches the system in one call, which a kill does not cut in two."""


class TruncatedError(Exception):
    """Somebody else has made the file shorter than what was written to it."""


class FragmentFile:
    """For av.open(): what the muxer flushes is written whole, or taken back if the disk does not take all of it.

    What the file held before is lost with the first write and not earlier, for what is to be recorded may never come.
    Another process's file is let alone as long as that writes it.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError; BlockingIOError if another one has it open."""
        self._new, self._begun = not path.exists(), False
        self.writes, self.failed = 0, False
        """How many have reached the system; whether one has not, after which a muxer tries no more."""
        self._end = 0  # bytes that it holds, unless somebody else has cut some off
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        self.name = str(path)
        try:
            lock(self._file)
        except BlockingIOError:
            os.close(self._file)
            raise

    def write(self, data: bytes) -> int:
        """Write all of `data`. Raises OSError and TruncatedError, with the file as it was before."""
        if not self._begun:
            if os.fstat(self._file).st_size:
                log.warning("%s is there already and is written anew", self.name)
            self._begun = True
            os.ftruncate(self._file, 0)
        before = os.lseek(self._file, 0, os.SEEK_CUR)
        size = self.check_length()  # a hole where something was cut off would spoil what is left
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            self.failed = True
            os.ftruncate(self._file, size)
            os.lseek(self._file, before, os.SEEK_SET)
            raise
        self.writes += 1
        self._end = max(self._end, before + len(data))
        return len(data)

    def check_length(self) -> int:
        """Return its length in bytes. Raises TruncatedError if something that was written is not in it any more."""
        size = os.fstat(self._file).st_size
        if size < self._end:
            self.failed = True
            raise TruncatedError(f"truncated to {size} of {self._end} bytes")
        return size

    def find(self, path: Path) -> Path | None:
        """Find where the open file is now: at `path`, or where somebody has moved it.

        None if it was deleted or moved to another file system, or the system does not tell (only Linux does). Raises
        OSError.
        """
        told = os.fstat(self._file)
        places = [path]
        with contextlib.suppress(OSError):
            places.append(Path(f"/proc/self/fd/{self._file}").readlink())
        return next((place for place in places if identity(place.resolve()) == (told.st_dev, told.st_ino)), None)

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
        """Idempotent. The container does not do it. A file into which no picture came is gone again.

        So is one that held something and was begun anew: that was given up for a first picture which did not fit. What
        others have put in its place meanwhile stays, and so does what they have left of one that was truncated.
        """
        if self._file >= 0:
            with contextlib.suppress(OSError):
                whole = os.fstat(self._file).st_size >= self._end
                if whole and (self._new or self._begun) and first(self._file) < 0:
                    told, place = os.fstat(self._file), Path(self.name).resolve()  # of a link what it leads to
                    if identity(place) == (told.st_dev, told.st_ino):
                        place.unlink()
            os.close(self._file)
            self._file = -1


def first(file: int) -> int:
    """Where in an open file its first fragment (MP4) or cluster (Matroska) begins; -1: none does. Raises OSError."""
    os.lseek(file, 0, os.SEEK_SET)
    head = os.read(file, 8192)
    return max(head.find(b"moof"), head.find(b"\x1f\x43\xb6\x75"))


def playable(path: Path) -> bool:
    """Whether the first fragment or cluster has reached the file."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        at = first(file.fileno())
        # The box is written first and its pictures after it: it is whole once the next one has begun, or all is there.
        return at >= 0 and os.fstat(file.fileno()).st_size > at + 1024
    return False


def flush(path: Path) -> None:
    """Through the system's cache to the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(file)
    finally:
        os.close(file)


def lock(file: int, *, shared: bool = False) -> bool:
    """For as long as it is open; False where files have no locks. Raises BlockingIOError if another one holds it.

    `shared`: as others may who only look whether it is being written; for that it need not be open for writing.
    """
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            raise
        except OSError:
            pass  # a file system that knows none
    return False


def identity(path: Path) -> tuple[int, int] | None:
    """Which file `path` is, whatever its name; None if there is none. Raises OSError if that cannot be told."""
    try:
        told = path.stat(follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return told.st_dev, told.st_ino
