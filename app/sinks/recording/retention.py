"""How much a folder of segments may hold. The oldest are deleted, but none that a program is writing."""

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
MAX_SHARE = 0.02
"""Share of all time that may be spent on looking through the folder: a month of minutes is 43,000 files."""
QUIET_S = 60.0
"""Without a write before a file counts as finished, on a file system that has no locks."""


class RetentionPolicy:
    """Keeps one folder within its quota. Other programs, machines and people may add and remove files meanwhile.

    Maintenance thread only.
    """

    def __init__(
        self, folder: Path, gigabytes: float | None, *, max_share: float = MAX_SHARE, quiet_s: float = QUIET_S
    ) -> None:
        """Keep `folder` within `gigabytes` (10^9 bytes); None for as many as the disk has.

        `max_share`: of all time, what may be spent on looking through the folder; `quiet_s`: see QUIET_S.
        """
        self._folder, self._limit, self._max_share, self._quiet_s = folder, gigabytes, max_share, quiet_s
        self._count = 0
        self._order: dict[Path, int] = {}  # of our own segments: the clock may jump back between two
        self._reported: set[Path] = set()
        self._due = 0.0

    def add(self, path: Path) -> None:
        """Take note of a segment of ours: newer than all that are there, whatever the clock says."""
        self._count += 1
        self._order[path] = self._count

    def keep(self, spared: Path | None) -> None:
        """Delete the oldest segments until the folder is within its quota, but neither `spared` nor what is locked.

        What cannot be looked at or deleted is skipped, and reported once. Does nothing for a while after a look that
        took long. Never raises.
        """
        begun = time.monotonic()
        if self._limit is None or begun < self._due:
            return
        self._look_through(self._limit * 1e9, spared)
        ended = time.monotonic()
        self._due = ended + (ended - begun) / self._max_share

    def _look_through(self, limit: float, spared: Path | None) -> None:
        """Delete the oldest segments until the folder is within `limit` bytes."""
        try:
            names = [path for path in self._folder.iterdir() if SEGMENT.fullmatch(path.name)]
        except (FileNotFoundError, NotADirectoryError):  # whoever records there reports it
            return
        except OSError as error:
            self._report(self._folder, error)
            return
        found = [entry for path in names if (entry := self._entry(path)) is not None]
        self._order = {path: order for order, _, _, path in found if order}
        self._reported &= {self._folder, *names}
        total = sum(size for *_, size, _ in found)
        for *_, size, path in sorted(found) if total > limit else ():
            if total <= limit:
                return
            if path != spared and self._deleted(path):
                total -= size
                log.debug("deleted %s, the oldest, to stay within the quota", path)

    def _entry(self, path: Path) -> tuple[int, float, int, Path] | None:
        """Return order, time, size and path of a segment; None if it is none, or is gone again."""
        try:
            stat_result = path.lstat()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._report(path, error)
            return None
        # A link or a folder of such a name was not recorded here.
        order = self._order.get(path, 0)
        regular = stat.S_ISREG(stat_result.st_mode)
        return (order, stat_result.st_mtime, stat_result.st_size, path) if regular else None

    def _deleted(self, path: Path) -> bool:
        """Delete `path`; True if it is gone now."""
        try:
            if not finished(path, self._quiet_s):
                return False
            path.unlink()
        except FileNotFoundError:
            pass  # somebody else has deleted it
        except OSError as error:
            self._report(path, error)
            return False
        return True

    def _report(self, path: Path, error: OSError) -> None:
        if path not in self._reported:
            self._reported.add(path)
            log.warning("the quota of %s skips %s: %s", self._folder, path.name, reason(error))


def clean(folder: Path) -> None:
    """Remove files that killed runs have left before they became segments: less than a second each. Raises OSError.

    The files of another running program are left alone, be it on another machine or in another container.
    """
    for path in folder.iterdir():
        if PART.fullmatch(path.name):
            try:
                if finished(path):
                    path.unlink()
            except FileNotFoundError:
                pass  # another program has removed it
            except OSError as error:
                log.warning("%s, left behind by a run that was killed, cannot be removed: %s", path, reason(error))


def finished(path: Path, quiet_s: float = QUIET_S) -> bool:
    """Return whether no program records to `path`. Raises OSError.

    A program that does holds a lock, which works across machines and containers, unlike a process number. Without locks
    a file counts as finished after `quiet_s` seconds without a write.
    """
    with path.open("rb") as file:
        try:
            return lock(file.fileno(), shared=True) or abs(time.time() - os.fstat(file.fileno()).st_mtime) > quiet_s
        except BlockingIOError:
            return False
