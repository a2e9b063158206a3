"""The window in a process of its own, so that an X server that goes away takes no program with it.

Xlib and Qt end the process that loses its display. Here that is app/sinks/window/worker.py, which has the window and no
more; it is started again until there is a display, and pictures go on to be made and recorded meanwhile. A picture is
copied once, into shared memory, and has been shown when the other side says so.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from app.errors import SinkError
from app.overlays.view_state import ViewState
from app.pipeline.frame import OutputFrame
from engines.base import Image
from engines.support import event_log
from engines.support.child_process import ChildProcess
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

PATIENCE = 0.25
"""Seconds that a picture waits to be shown; then pictures go past the window until it answers."""
HUNG = 5.0
"""Seconds without an answer after which the window's process is given up."""
OPENING = 20.0
"""Seconds that it may take to start."""
PAUSES = 0.25, 2.0
"""Seconds between two attempts to start it: the first pause, and the longest."""


class WindowProcess:
    """What app.sinks.window.opencv_window.OpenCvWindow is, and the same sink to whoever uses it. Main thread only."""

    def __init__(self, title: str, view: ViewState, actions: Mapping[str, Callable[[], None]]) -> None:
        """Raises SinkError where there is no display."""
        self._title = title
        self._guard = threading.Lock()
        self._closed = threading.Event()
        self._waiting: float | None = None  # since when an answer has been due
        self._memory: Image = np.empty(0, np.uint8)
        self.problem = ""
        """Why nothing is shown; empty while all is well."""
        self.obey(view, actions)
        self._process: ChildProcess | None = self._started()

    def obey(self, view: ViewState, actions: Mapping[str, Callable[[], None]], *, locked: bool = False) -> None:
        """As app.sinks.window.opencv_window.OpenCvWindow has it."""
        self._view, self._actions, self._locked = view, actions, locked

    def write(self, frame: OutputFrame) -> None:
        image = frame.image
        if not self._answered(0.0) or (process := self._process) is None:
            return
        if self._memory.size < image.size:
            self._memory = np.frombuffer(process.mapped(image.size), np.uint8)
        np.copyto(self._memory[: image.size].reshape(image.shape), image)
        self._ask(list(image.shape[:2]))

    def poll(self) -> None:
        if self._answered(0.0):
            self._ask(None)

    def close(self) -> None:
        self._closed.set()
        with self._guard:
            process, self._process = self._process, None
        if process is not None:
            process.close()

    def _ask(self, shape: list[int] | None) -> None:
        """Let it show what lies in the memory, [height, width], or look after its events alone."""
        view = {"split": self._view.split, "divider": self._view.divider, "fullscreen": self._view.fullscreen}
        view |= {"overlay": self._view.overlay, "help": self._view.help}
        process = self._process
        if process is None:
            return
        try:
            process.link.send_bytes(json.dumps({"shape": shape, "view": view, "locked": self._locked}).encode())
        except OSError:
            self._lost(process)
            return
        self._waiting = time.monotonic()
        self._answered(PATIENCE)

    def _answered(self, timeout: float) -> bool:
        """Whether it has nothing left to do; does what it says that the user wants."""
        process = self._process
        if process is None or self._waiting is None:
            return process is not None
        try:
            if not process.link.poll(timeout):
                if time.monotonic() - self._waiting > HUNG:
                    self._lost(process)
                return False
            told: dict[str, Any] = json.loads(process.link.recv_bytes())
        except (EOFError, OSError):
            self._lost(process)
            return False
        self._waiting = None
        for name, value in told["view"].items():
            setattr(self._view, name, value)
        for name in told["actions"]:
            self._actions[name]()
        return True

    def _started(self) -> ChildProcess:
        """One with a display. Raises SinkError."""
        process = ChildProcess("app.sinks.window.worker")
        try:
            process.link.send_bytes(json.dumps({"title": self._title, "log": event_log.settings()}).encode())
            if not process.link.poll(OPENING):
                raise EOFError
            told = json.loads(process.link.recv_bytes())
        except (EOFError, OSError):
            facts = process.end()
            process.close(0)
            raise SinkError("The window's process does not start", facts, "Its own words are above.") from None
        if told:
            process.close()
            raise SinkError(told["problem"], told["facts"], told["fix"])
        return process

    def _lost(self, process: ChildProcess) -> None:
        """Give it up, and have another one as soon as there is a display."""
        self._process, self._waiting = None, None
        self._memory = np.empty(0, np.uint8)
        self.problem = f"the window is away: {process.end()}"
        message = "%(reason)s; looking for a display"
        log_event(log, logging.WARNING, "window_lost", message, reason=self.problem)
        threading.Thread(target=self._return, args=(process,), name="display", daemon=True).start()

    def _return(self, process: ChildProcess) -> None:
        process.close(0)
        pause, longest = PAUSES
        while not self._closed.is_set():
            with contextlib.suppress(SinkError, OSError):
                fresh = self._started()
                with self._guard:
                    if not self._closed.is_set():
                        self._process, self.problem = fresh, ""
                        log_event(log, logging.INFO, "window_back", "the window is back")
                        return
                fresh.close()
            self._closed.wait(pause)
            pause = min(longest, 2 * pause)
