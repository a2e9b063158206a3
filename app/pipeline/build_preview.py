"""What is shown while an engine is being built, and which engines have failed."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from app.pipeline.frame import Frame, OutputFrame
from app.pipeline.protocols import EngineLoadObserver, Overlay, Sink
from engines.bicubic import enlarge
from engines.catalog.shipped import DEFAULT_SCALE
from engines.support.progress import BuildProgress

PREVIEW_PERIOD_S = 0.1
"""Between two pictures while there is no engine."""

MAX_BUILD_S = 1800.0
"""How long a build may take before it counts as hung; those seen on a Jetson took minutes."""


def _usual_output(size: tuple[int, int]) -> tuple[int, int]:
    return DEFAULT_SCALE * size[0], DEFAULT_SCALE * size[1]


class BuildPreview(EngineLoadObserver):
    """Shows the source's own picture, enlarged by interpolation, with what the engine's builder reports.

    Main thread only, except `progress`, which the loading thread writes.
    """

    def __init__(
        self,
        notify: Callable[[str], None] | None = None,
        panel: Overlay | None = None,
        window: Sink | None = None,
        *,
        auto: bool,
        output: Callable[[tuple[int, int]], tuple[int, int]] | None = None,
        max_build_s: float = MAX_BUILD_S,
    ) -> None:
        """Show pictures in `window`, with the notice that `notify` posts and `panel` draws.

        `auto`: another engine may take the place of one that has failed; `output`: gives for an input's (width,
        height) that of the picture, by default DEFAULT_SCALE times as large; `max_build_s`: how long a build may take
        before it counts as hung.
        """
        self.progress = BuildProgress()
        self.failed: set[str] = set()
        """Names of the engines that have failed while running."""
        self._notify, self._panel, self._window = notify, panel, window
        self._auto, self._output, self._max_build_s = auto, output or _usual_output, max_build_s
        self._due = 0.0

    def show(self, frame: Frame | None) -> None:
        """Show `frame` with the builder's progress, at most ten times a second."""
        message = str(self.progress)
        if not message or frame is None or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + PREVIEW_PERIOD_S
        if self._notify is not None:
            self._notify(message)
        if self._window is None:
            return
        # A live source may write into the frame while it is read: a torn picture for a tenth of a second.
        width, height = self._output(frame.size)
        large = np.empty((height, width, 3), np.uint8)
        preview = OutputFrame(enlarge(frame.image, large), frame)
        if self._panel is not None:
            self._panel.draw(preview)
        self._window.write(preview)

    @property
    def busy(self) -> bool:
        """Whether an engine is being built, and has not been for too long."""
        return 0 < self.progress.seconds < self._max_build_s

    def cancel(self) -> None:
        """Make the build fail soon."""
        self.progress.cancel()

    def replace(self, failed: str) -> bool:
        """Leave the engine `failed` out of the next load; True if that may give another one."""
        self.failed.add(failed)
        return self._auto
