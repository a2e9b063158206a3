"""How far a load that takes minutes has come, for the log and for whoever waits in front of a window."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

BUILD_LOG_PERIOD_S = 10.0
"""Between two lines in the log."""


class BuildProgress:
    """Written by the thread that loads; str() is for every thread: "" while there is nothing to report.

    TensorRT reports the stages of a build, but may stay silent for minutes in one: so the elapsed time is shown, too.
    """

    def __init__(self, log_period: float = BUILD_LOG_PERIOD_S) -> None:
        """`log_period`: seconds between two lines in the log."""
        self._log_period = log_period
        self._cancelled = threading.Event()
        self._what = self._stage = ""
        self._last: float | None = None
        self._began = 0.0

    @property
    def cancelled(self) -> bool:
        """Whether somebody wants the load to end without a result."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask for an early end. The load raises EngineError as soon as it can."""
        self._cancelled.set()

    def stage(self, text: str) -> None:
        """Say what is being done now."""
        self._stage = text

    @property
    def seconds(self) -> float:
        """How long the current work has been going on; 0 while there is none."""
        return time.monotonic() - self._began if self._what else 0.0

    @contextmanager
    def work(self, what: str, last: float | None = None) -> Iterator[None]:
        """Report `what` while the block runs; `last`: seconds it took the last time, if known."""
        self._stage, self._last, self._began = "", last, time.monotonic()
        self._what = what
        log.info("%s%s", what, f"; last time it took {last:.0f} s" if last else "")
        done = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(done,), name="progress", daemon=True)
        ticker.start()
        try:
            yield
        finally:
            self._what = ""
            done.set()
            ticker.join(1)

    def _tick(self, done: threading.Event) -> None:
        while not done.wait(self._log_period):
            log.info("%s", self)

    def __str__(self) -> str:
        what, stage = self._what, self._stage
        if not what:
            return ""
        before = f" (last time {self._last:.0f} s)" if self._last else ""
        return f"{what}: {stage + ', ' if stage else ''}{self.seconds:.0f} s{before}"
