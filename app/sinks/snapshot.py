"""A PNG of before and after, side by side, at full size."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from app.errors import SinkError
from app.overlays.text_panel import TextPanel, cap_height
from app.overlays.view_state import ViewState
from app.pipeline.frame import Frame, Origin, OutputFrame
from app.sinks.filenames import Filenames
from engines.base import Image
from engines.bicubic import enlarge
from engines.support import atomic_file
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

EXPOSURE_S = 1.0
"""What a webcam needs to find its exposure."""

WRITE_TIMEOUT_S = 20.0
"""What writing a picture may take when the run ends; one of 8K takes about two seconds."""


class Snapshot:
    """Takes the next picture when asked to; with `file`, the first live one, and again one a second later.

    The later one waits for the model, should another picture stand in for that: an engine may still be loading.
    After a reload `file` gets another name, as a recording does. Comes before the overlays.
    """

    def __init__(
        self,
        folder: Path,
        view: ViewState,
        filenames: Filenames | None = None,
        *,
        file: Path | None = None,
        interpolated: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare. Raises SinkError if `file` cannot be written; later calls do so once writing it has failed.

        `folder`: where the key's snapshots go; `filenames` knows what earlier sessions have written; `interpolated`
        says whether the picture is bicubic in place of a model's.
        """
        self._filenames = filenames or Filenames()
        self._file = file and self._filenames.new_name(file)
        # Main thread, except where a comment says otherwise.
        self._planned_s = [0.0, EXPOSURE_S] if file else []  # after the first live picture
        self._first_position: float | None = None  # of the first live picture, in seconds
        self._requested: Path | None = None  # by the key
        self._failure: SinkError | None = None  # set by the worker thread, taken by the main thread
        self._file_saved = False  # of the worker thread
        self._folder, self._view, self._interpolated = folder, view, interpolated
        self._worker: threading.Thread | None = None
        self._notices: queue.SimpleQueue[str] = queue.SimpleQueue()  # from the worker thread to the view
        if file is not None:
            check_png(file)

    def request(self) -> None:
        """Take the next picture, as the key s does."""
        self._requested = self._requested or self._folder / f"snapshot-{datetime.now():%Y%m%d-%H%M%S-%f}.png"

    def write(self, frame: OutputFrame) -> None:
        """Take this picture, if one is wanted. Raises SinkError if `file` could not be written."""
        self.poll()
        if self._worker is not None and self._worker.is_alive():
            return  # a later picture will do
        if (path := self._wanted(frame.input)) is None:
            return
        # Copied before this returns, drawn and compressed elsewhere: a PNG takes longer than a frame lasts.
        work = (path, frame.input.image.copy(), frame.image.copy(), self._interpolated())
        self._worker = threading.Thread(target=self._save, args=work, name="snapshot", daemon=True)
        self._worker.start()

    def _wanted(self, frame: Frame) -> Path | None:
        """Return where this picture goes, if anywhere. The key takes what is shown, `file` what the source sees."""
        if self._planned_s and frame.origin is Origin.LIVE:
            self._first_position = frame.position if self._first_position is None else self._first_position
            settled = frame.position - self._first_position >= self._planned_s[0]
            if settled and not (self._interpolated() and len(self._planned_s) == 1):
                del self._planned_s[0]
                return self._file
        requested, self._requested = self._requested, None
        return requested

    def poll(self) -> None:
        """Show the worker's notices. Raises SinkError if `file` could not be written."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        while not self._notices.empty():
            self._view.say(self._notices.get())

    def close(self) -> None:
        """Finish the picture that is being written. Raises SinkError if it was for `file` and could not be written."""
        if self._worker is not None:
            self._worker.join(WRITE_TIMEOUT_S)
            if self._worker.is_alive():
                log.warning("writing a snapshot takes longer than %g s; not waiting for it any more", WRITE_TIMEOUT_S)
        self.poll()

    def _save(self, path: Path, before: Image, after: Image, interpolated: bool) -> None:
        try:
            _, data = cv2.imencode(".png", side_by_side(before, after, interpolated=interpolated))
            atomic_file.write_atomic(path, data.tobytes(), parents=True)  # the key's folder may not exist yet
        except (OSError, cv2.error) as error:
            message = "the snapshot %(path)s cannot be written: %(reason)s"
            log_event(log, logging.WARNING, "snapshot_failed", message, path=path, reason=str(error))
            self._notices.put(f"cannot write {path.name}")
            if path == self._file:
                fix = "Make room on the disk, or give another --snapshot FILE."
                self._failure = SinkError(f"The snapshot {path} cannot be written", str(error), fix)
        else:
            self._filenames.add(path)
            if path == self._file and self._file_saved:  # nobody needs to hear of it twice
                log.debug("saved before and after to %s again, now that a camera has found its exposure", path)
                return
            self._file_saved = self._file_saved or path == self._file
            log_event(log, logging.INFO, "snapshot_saved", "saved before and after to %(path)s", path=path)
            self._notices.put(f"saved {path.name}")


def side_by_side(before: Image, after: Image, *, interpolated: bool = False) -> Image:
    """Put `before`, enlarged by bicubic interpolation, to the left of `after`, both labelled.

    Both are uint8 [H, W, 3]; the result is a new one of the height of `after` and twice its width. `interpolated`:
    `after` is bicubic, too, in place of a model's picture, and is labelled as such.
    """
    both: Image = np.concatenate([enlarge(before, np.empty_like(after)), after], axis=1)
    height, width = after.shape[:2]
    gap = cap_height(height)
    for x, text in ((0, "before: bicubic"), (width, "after: bicubic" if interpolated else "after: upscaled")):
        panel = TextPanel([text], height=gap, width=width)
        panel.draw(both, x + gap, height - panel.size[1] - gap)
    both[:, width - 1 : width + 1] = 255
    return both


def check_png(path: Path) -> None:
    """Raise SinkError if `path` is no .png or could not be written now."""
    if path.suffix.lower() != ".png":
        raise SinkError(f"Cannot write a snapshot to {path}", "it is not a .png", "Give a name that ends in .png.")
    try:
        atomic_file.check(path)
    except OSError as error:
        raise SinkError(
            f"Cannot write a snapshot to {path}",
            error.strerror or str(error),
            f"Check that {path.parent.absolute()} is a folder and that you may write to it.",
        ) from None
