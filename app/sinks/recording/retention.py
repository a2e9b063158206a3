"""How much an archive's folder may hold. The oldest segments go, but none that a program is writing."""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from pathlib import Path

from app.ffmpeg import reason
from app.sinks.recording.fragment_file import lock

log = logging.getLogger(__name__)

SEGMENT = re.compile(r"\d{8}-\d{6}(-\d+)?\.(mp4|mkv)")
PART = re.compile(r"\.livesr-[0-9a-f]+-\d+\.part\.(mp4|mkv)")
SHARE = 0.02
"""Of all time, what may be spent on looking through the folder: a month of minutes is 43,000 files."""
QUIET = 60.0
"""Seconds without a write after which a file counts as finished, on a file system that has no locks."""


class RetentionPolicy:
    """Of one folder. Other programs, machines and people may add to it and take from it meanwhile."""

    def __init__(self, folder: Path, gigabytes: float | None) -> None:
        """`gigabytes`: None for as many as the disk has."""
        self._folder, self._limit = folder, gigabytes
        self._count = 0
        self._order: dict[Path, int] = {}  # of our own segments: the clock may have jumped back between two
        self._told: set[Path] = set()
        self._due = 0.0

    def add(self, path: Path) -> None:
        """A segment of ours: newer than our earlier ones and anybody else's, whatever the clock says."""
        self._count += 1
        self._order[path] = self._count

    def keep(self, spared: Path | None) -> None:
        """Delete the oldest segments until the folder is within its quota, but neither `spared` nor what is locked.

        What cannot be looked at or deleted is passed over, and told once. Does nothing while the last look, if it took
        long, was not long ago. Never raises.
        """
        begun = time.monotonic()
        if self._limit is None or begun < self._due:
            return
        self._look_through(self._limit * 1e9, spared)
        ended = time.monotonic()
        self._due = ended + (ended - begun) / SHARE

    def _look_through(self, limit: float, spared: Path | None) -> None:
        """`limit` in bytes."""
        try:
            names = [path for path in self._folder.iterdir() if SEGMENT.fullmatch(path.name)]
        except (FileNotFoundError, NotADirectoryError):  # whoever records there tells of it
            return
        except OSError as error:
            self._tell(self._folder, error)
            return
        found = [entry for path in names if (entry := self._entry(path)) is not None]
        self._order = {path: order for order, _, _, path in found if order}
        self._told &= {self._folder, *names}
        total = sum(size for *_, size, _ in found)
        for *_, size, path in sorted(found) if total > limit else ():
            if total <= limit:
                return
            if path != spared and self._deleted(path):
                total -= size
                log.debug("deleted %s, the oldest, to stay within the quota", path)

    def _entry(self, path: Path) -> tuple[int, float, int, Path] | None:
        """By what it is sorted, and its size; None if it is no segment, or is gone again."""
        try:
            told = path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell(path, error)
            return None
        # A link or a folder of such a name is nothing that was recorded here.
        return (self._order.get(path, 0), told.st_mtime, told.st_size, path) if stat.S_ISREG(told.st_mode) else None

    def _deleted(self, path: Path) -> bool:
        """Whether it is gone now."""
        try:
            if not finished(path):
                return False
            path.unlink()
        except FileNotFoundError:
            pass  # somebody else keeps house as well
        except OSError as error:
            self._tell(path, error)
            return False
        return True

    def _tell(self, path: Path, error: OSError) -> None:
        if path not in self._told:
            self._told.add(path)
            log.warning("the quota of %s passes over %s: %s", self._folder, path.name, reason(error))


def clean(folder: Path) -> None:
    """Remove what runs that were killed had not yet made a segment of: less than a second each. Raises OSError.

    What another program is about to record is let alone, be it on another machine or in another container.
    """
    for path in folder.iterdir():
        if PART.fullmatch(path.name):
            try:
                if finished(path):
                    path.unlink()
            except FileNotFoundError:
                pass  # another program clears up as well
            except OSError as error:
                log.warning("%s, left behind by a run that was killed, cannot be removed: %s", path, reason(error))


def finished(path: Path) -> bool:
    """Whether no program records to `path`. Raises OSError.

    Whoever does holds a lock, which tells of other machines and containers what a process's number does not.
    """
    with path.open("rb") as file:
        try:
            return lock(file.fileno(), shared=True) or abs(time.time() - os.fstat(file.fileno()).st_mtime) > QUIET
        except BlockingIOError:
            return False
