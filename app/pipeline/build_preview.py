"""What is seen while an engine is being built, and which engines have failed."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from app.overlays.view_state import ViewState
from app.pipeline.frame import Frame, OutputFrame
from app.pipeline.protocols import EngineLoadObserver, Sink
from engines.bicubic import enlarge
from engines.catalog.shipped import DEFAULT_SCALE
from engines.support.progress import BuildProgress

PERIOD = 0.1
"""Seconds between two pictures while there is no engine."""

LONGEST = 1800.0
"""Seconds that a build may take before it counts as hung; those seen on a Jetson took minutes."""


class BuildPreview(EngineLoadObserver):
    """Shows the source's own picture, enlarged by interpolation, with what the engine's builder says."""

    def __init__(self, view: ViewState, sinks: Sequence[Sink], *, auto: bool, scale: int | None = None) -> None:
        """`sinks`: those that show and do not keep, none without a window; `auto`: there are engines to go on with;
        `scale`: how many times larger the picture will be, if that is known."""
        self.progress = BuildProgress()
        self.failed: set[str] = set()
        self._view, self._sinks, self._auto, self._scale = view, sinks, auto, scale or DEFAULT_SCALE
        self._due = 0.0

    def show(self, frame: Frame | None) -> None:
        told = str(self.progress)
        if not told or frame is None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + PERIOD
        self._view.say(told)
        # A live source may fill the frame anew while it is read: a torn picture for a tenth of a second.
        width, height = frame.size
        large = np.empty((self._scale * height, self._scale * width, 3), np.uint8)
        picture = OutputFrame(enlarge(frame.image, large), frame)
        for sink in self._sinks:
            sink.write(picture)

    @property
    def busy(self) -> bool:
        return 0 < self.progress.seconds < LONGEST

    def cancel(self) -> None:
        self.progress.cancel()

    def replace(self, failed: str) -> bool:
        self.failed.add(failed)
        return self._auto
