"""A folder, a pattern or a single file of still pictures, played one after another like a video."""

from __future__ import annotations

import errno
import glob
import itertools
import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from app.errors import SourceError
from app.pipeline.frame import Frame
from app.sources.close_guard import CloseGuard
from app.sources.missing_file import missing_file_error
from app.uri import STILLS
from engines.base import MAX_INPUT_SIZE, MIN_INPUT_SIZE, Image, fits
from engines.support.event_log import log_event

log = logging.getLogger(__name__)


def natural_key(path: Path) -> list[tuple[bool, int, str]]:
    """Return a sort key by which 9.png comes before 10.png."""
    parts = re.findall(r"\d+|\D+", str(path).lower())
    return [(False, int(part), "") if part.isdecimal() else (True, 0, part) for part in parts]


class ImageSequence:
    """Still pictures, which may differ in size, at `fps` a second of their own time. Neither live nor paced."""

    live = False
    camera = False
    paced = False

    def __init__(self, paths: Sequence[Path], *, name: str, fps: float | None = None, loop: bool = False) -> None:
        """Take at least one path. `fps` is 1 by default; `loop` begins again at the end.

        Raises SourceError if none of the files is in a format that OpenCV reads.
        """
        self.name, self.fps = name, fps or 1.0
        self._paths, self._loop = list(paths), loop
        if not any(_has_reader(path) for path in self._paths):
            raise self._unreadable()
        self._guard = CloseGuard(lambda: None)

    @classmethod
    def of(cls, path: Path, *, fps: float | None = None, loop: bool = False) -> ImageSequence:
        """Open the pictures of a folder or of a pattern such as holiday/*.jpg, in natural order, or a single file.

        Raises SourceError, and OSError for a folder that may not be read.
        """
        if not path.exists() and not glob.has_magic(str(path)):
            raise missing_file_error(path)
        if path.exists() and not path.is_dir():
            if not path.is_file():
                raise SourceError(
                    f"{path} is not a file", "it is a pipe or a device", "Give a file, a folder or a pattern."
                )
            return cls([path], name=path.name, fps=fps, loop=loop)
        files = listed(path)
        paths = [file for file in files if file.suffix.lower() in STILLS]
        if paths:
            return cls(paths, name=f"pictures in {path}", fps=fps, loop=loop)
        others = f"other files such as {files[0].name}" if files else "no files"
        raise SourceError(
            f"There are no pictures in {path}",
            f"found {others}, where {', '.join(STILLS)} were looked for in {path.absolute()}",
            "Name a folder or a pattern that has some, for example 'holiday/*.jpg'.",
        )

    def __iter__(self) -> Iterator[Frame]:
        with self._guard as ended:
            index, any_read = 0, True
            reported: set[Path] = set()
            while any_read:
                any_read = False
                for path in self._paths:
                    if ended.is_set():
                        return
                    began = time.monotonic()
                    image = _read(path)
                    # A single picture is passed on whatever its size is: the engine says what is wrong with it.
                    if image is None or (len(self._paths) > 1 and not fits((image.shape[1], image.shape[0]))):
                        if path not in reported:  # logged once, even in a loop
                            message, reason = "%(path)s %(reason)s; skipped", _fault(path, image)[0]
                            log_event(log, logging.WARNING, "picture_skipped", message, path=path, reason=reason)
                        reported.add(path)
                        continue
                    any_read, now = True, time.monotonic()
                    yield Frame(image, index, now, index / self.fps, now - began)
                    index += 1
                if not self._loop:
                    break
            if not any_read:
                raise self._unreadable()

    def close(self) -> None:
        """End the iteration after the picture it is at. Idempotent."""
        self._guard.close()

    def _unreadable(self) -> SourceError:
        count, first = len(self._paths), self._paths[0]
        fault, fix = _fault(first, _read(first))
        if count == 1:
            return SourceError(f"{self.name} {fault}", f"tried {first.absolute()}", fix)
        facts = f"tried {count} files; the first of them, {first.absolute()}, {fault}"
        return SourceError(f"No picture in {self.name} can be used", facts, fix)


def listed(path: Path) -> list[Path]:
    """Return the files of a folder or a pattern, in natural order. Raises OSError if the folder may not be read."""
    folder, pattern = (path, "*") if path.is_dir() else _split(path)
    if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):  # glob() would find nothing there
        raise PermissionError(errno.EACCES, f"{os.strerror(errno.EACCES)}: {folder}")
    entries = folder.glob(pattern) if folder.is_dir() else []
    return sorted((entry for entry in entries if entry.is_file()), key=natural_key)


def _split(path: Path) -> tuple[Path, str]:
    """Split `path` into the folder before its first part that is a pattern, and the rest."""
    plain = list(itertools.takewhile(lambda part: not glob.has_magic(part), path.parts))
    # ** stands for folders only as a whole part; elsewhere a shell takes it for *, and Path.glob() refuses it.
    rest = (part if part == "**" else re.sub(r"\*+", "*", part) for part in path.parts[len(plain) :])
    return Path(*plain), str(Path(*rest))


def _has_reader(path: Path) -> bool:
    """Whether the first bytes are those of a format that OpenCV reads."""
    try:
        name = os.fsencode(path).decode()
    except UnicodeDecodeError:  # on which OpenCV would end the process
        return _read(path) is not None
    try:
        return bool(cv2.haveImageReader(name))
    except cv2.error:
        return False


def _fault(path: Path, image: Image | None) -> tuple[str, str]:
    """Return what is wrong with a picture, to follow its name, and what to do about it."""
    if image is not None:
        sizes = f"sizes go from {MIN_INPUT_SIZE[0]}x{MIN_INPUT_SIZE[1]} to {MAX_INPUT_SIZE[0]}x{MAX_INPUT_SIZE[1]}"
        return f"is {image.shape[1]}x{image.shape[0]}, which cannot be upscaled: {sizes}", "Scale it first."
    if not os.access(path, os.R_OK):
        return "cannot be read: permission denied", "Check its permissions."
    return (
        "is not a picture that can be read",
        "Open it in a picture viewer: if that fails too, it is damaged, or not of the kind that its name suggests.",
    )


def _read(path: Path) -> Image | None:
    """Read a picture as uint8 [H, W, 3] BGR, upright by its EXIF data; None if it cannot be read."""
    try:  # not imread(): it ends the process on a name that is not UTF-8
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):  # unreadable, empty, or larger than OpenCV's limit on pixels
        return None
    return None if image is None else np.ascontiguousarray(image, np.uint8)
