"""Snapshot: a PNG of before and after, side by side, at full size."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from app.frame import Picture
from app.panel import Panel, letter
from app.sinks import SinkError
from app.view import View
from engines.base import Image
from engines.bicubic import enlarge

log = logging.getLogger(__name__)

SETTLED = 1.0
"""Seconds after which a webcam has found its exposure."""


class Snapshot:
    """Takes the next picture when asked to; with `file`, the first one, and again the first after a second.

    Must be the first of the sinks: later ones draw into the picture.
    """

    stage = "sink"

    def __init__(self, folder: Path, view: View, *, file: Path | None = None) -> None:
        """Raises SinkError if `file` cannot be written."""
        self._folder, self._view = folder, view
        self._wanted: list[tuple[float, Path]] = []
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="snapshot")
        self._busy: Future[None] | None = None
        if file is not None:
            check_png(file)
            self._wanted = [(0.0, file), (SETTLED, file)]

    def request(self) -> None:
        """What the key s does."""
        if not self._wanted:
            self._wanted.append((0.0, self._folder / f"snapshot-{datetime.now():%Y%m%d-%H%M%S}.png"))

    def write(self, picture: Picture) -> None:
        if not self._wanted or picture.frame.position < self._wanted[0][0]:
            return
        if self._busy is not None and not self._busy.done():
            return  # the next picture will do
        _, path = self._wanted.pop(0)
        # Copied before this returns, drawn and compressed elsewhere: a PNG takes longer than a frame lasts.
        self._busy = self._worker.submit(self._save, path, picture.frame.image.copy(), picture.image.copy())

    def idle(self) -> None:
        pass

    def close(self) -> None:
        """Finish the picture that is being written: a second at most."""
        self._worker.shutdown()

    def _save(self, path: Path, before: Image, after: Image) -> None:
        try:
            _, data = cv2.imencode(".png", side_by_side(before, after))
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".part")
            partial.write_bytes(data.tobytes())
            partial.replace(path)
        except (OSError, cv2.error) as error:
            log.warning("the snapshot %s cannot be written: %s", path, error)
            self._view.say(f"cannot write {path.name}")
        else:
            log.info("before and after are in %s", path)
            self._view.say(f"saved {path.name}")


def side_by_side(before: Image, after: Image) -> Image:
    """Bicubic of `before` on the left, `after` on the right, of equal size, labelled."""
    both: Image = np.concatenate([enlarge(before, np.empty_like(after)), after], axis=1)
    height, width = after.shape[:2]
    gap = letter(height)
    for x, text in ((0, "before: bicubic"), (width, "after: upscaled")):
        panel = Panel([text], height=gap, width=width)
        panel.draw(both, x + gap, height - panel.size[1] - gap)
    both[:, width - 1 : width + 1] = 255
    return both


def check_png(path: Path) -> None:
    """Make the folder of `path`. Raises SinkError if it cannot be, or if `path` is no .png."""
    if path.suffix.lower() != ".png":
        raise SinkError(f"Cannot write a snapshot to {path}", "it is not a .png", "Give a name that ends in .png.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".part").write_bytes(b"")
        path.with_suffix(".part").unlink()
    except OSError as error:
        raise SinkError(
            f"Cannot write a snapshot to {path}",
            error.strerror or str(error),
            f"Is {path.parent.absolute()} a folder you may write to?",
        ) from None
