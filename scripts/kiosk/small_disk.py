"""A small disk, which can be filled and made read-only."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from pathlib import Path

REMOUNT_TIMEOUT_S = 20.0
"""Seconds for which it may be too busy to be made read-only."""


class SmallDisk:
    """12 MB at `path` if root makes it; else an ordinary folder, which cannot be filled or protected."""

    def __init__(self, path: Path) -> None:
        """Raises OSError if `path` exists."""
        self.path, self._ballast = path, path / "ballast"
        path.mkdir()
        self.mounted = (
            os.geteuid() == 0
            and not subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", path], capture_output=True
            ).returncode
        )

    def fill(self) -> None:
        """Fill the disk to the last byte, until empty()."""
        with contextlib.suppress(OSError), self._ballast.open("wb") as file:
            while True:
                file.write(bytes(1 << 16))

    def empty(self) -> None:
        """Free what fill() has taken."""
        self._ballast.unlink()

    def protect(self) -> None:
        """Let nothing be written until unprotect().

        Raises RuntimeError if that is not possible within REMOUNT_TIMEOUT_S.
        """
        end = time.monotonic() + REMOUNT_TIMEOUT_S
        while True:
            subprocess.run(["mount", "-o", "bind", self.path, self.path], check=True)
            done = subprocess.run(["mount", "-o", "remount,bind,ro", self.path], capture_output=True, text=True)
            if not done.returncode:
                return
            self.unprotect()  # busy: a file was begun on it in between
            if time.monotonic() > end:
                raise RuntimeError(f"{self.path} cannot be made read-only: {done.stderr}")
            time.sleep(0.2)

    def unprotect(self) -> None:
        """Let the disk be written to again."""
        subprocess.run(["umount", "-l", self.path], check=True)

    def close(self) -> None:
        """Unmount it, and lose what was on it; an ordinary folder stays."""
        if self.mounted:
            subprocess.run(["umount", "-l", self.path], capture_output=True)
