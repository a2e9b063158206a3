"""A file that grows by whole fragments, whatever happens to the disk or to the program."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

BUFFER_BYTES = 8 << 20
"""What a muxer may collect: a fragment reaches the system in one call, which a kill does not cut in two."""


class TruncatedError(Exception):
    """Somebody else has made the file shorter than what was written to it."""


class FragmentFile:
    """A file for av.open(): what the muxer flushes is written whole, or undone if the disk does not take all of it.

    What the file held before is overwritten with the first write and not earlier: the first picture may never come.
    A file that another process is writing is left alone.
    """

    def __init__(self, path: Path) -> None:
        """Open or create `path`. Raises OSError; BlockingIOError if another program is writing it."""
        self._new, self._begun = not path.exists(), False
        self.writes, self.failed = 0, False
        """How many writes have reached the system; whether one has not, after which a muxer gives up."""
        self._end = 0  # bytes it should hold, unless somebody else has cut some off
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
                log.warning("overwriting existing file %s", self.name)
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
        """Return the file's length in bytes. Raises TruncatedError if something that was written is missing."""
        size = os.fstat(self._file).st_size
        if size < self._end:
            self.failed = True
            raise TruncatedError(f"truncated to {size} of {self._end} bytes")
        return size

    def find(self, path: Path) -> Path | None:
        """Find where the open file is now: at `path`, or where somebody has moved it.

        None if it was deleted or moved to another file system, or the system does not report it (only Linux does).
        Raises OSError.
        """
        stat = os.fstat(self._file)
        places = [path]
        with contextlib.suppress(OSError):
            places.append(Path(f"/proc/self/fd/{self._file}").readlink())
        return next((place for place in places if identity(place.resolve()) == (stat.st_dev, stat.st_ino)), None)

    def read(self, count: int) -> bytes:
        """Read up to `count` bytes. Raises OSError."""
        return os.read(self._file, count)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to `offset`, and return the position from the start. Raises OSError."""
        return os.lseek(self._file, offset, whence)

    def tell(self) -> int:
        """Return the position from the start."""
        return os.lseek(self._file, 0, os.SEEK_CUR)

    def __enter__(self) -> FragmentFile:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, which the container does not do, and delete it if it has no picture. Idempotent.

        That includes a file whose old contents have been overwritten by a first picture that did not fit on the disk.
        What others have put in its place meanwhile stays, and so does what they have left of a truncated one.
        """
        if self._file >= 0:
            with contextlib.suppress(OSError):
                whole = os.fstat(self._file).st_size >= self._end
                if whole and (self._new or self._begun) and first(self._file) < 0:
                    stat, place = os.fstat(self._file), Path(self.name).resolve()  # where a link leads to
                    if identity(place) == (stat.st_dev, stat.st_ino):
                        place.unlink()
            os.close(self._file)
            self._file = -1


def first(file: int) -> int:
    """Find where in an open file the first fragment (MP4) or cluster (Matroska) begins; -1 if none does.

    Raises OSError.
    """
    os.lseek(file, 0, os.SEEK_SET)
    head = os.read(file, 8192)
    return max(head.find(b"moof"), head.find(b"\x1f\x43\xb6\x75"))


def playable(path: Path) -> bool:
    """Return whether the first fragment or cluster is in the file."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        at = first(file.fileno())
        # The box is written first and its pictures after it: it is whole once the next one has begun, or all is there.
        return at >= 0 and os.fstat(file.fileno()).st_size > at + 1024
    return False


def flush(path: Path) -> None:
    """Write what the system has cached of `path` to the disk. Raises OSError."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fdatasync(file)
    finally:
        os.close(file)


def lock(file: int, *, shared: bool = False) -> bool:
    """Lock an open file until it is closed; False where files have no locks. Raises BlockingIOError if it is locked.

    `shared`: the lock of a program that only looks whether the file is being written; it need not be open for writing.
    """
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            raise
        except OSError:
            pass  # a file system without locks
    return False


def identity(path: Path) -> tuple[int, int] | None:
    """Return (device, inode) of the file at `path`; None if there is none. Raises OSError if that cannot be read."""
    try:
        stat = path.stat(follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return stat.st_dev, stat.st_ino
