"""The window in a process of its own, so that an X server that goes away does not take the program with it.

Xlib and Qt end the process that loses its display. Here that is app/sinks/window/worker.py, which has the window and
nothing else; it is started again until there is a display, while pictures are still being made and recorded. A picture
is copied once, into shared memory, and has been shown when the other side says so.
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
from engines.support.backoff import Backoff
from engines.support.child_process import ChildProcess
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

SHOW_TIMEOUT_S = 0.25
"""What a picture waits to be shown; after that, pictures bypass the window until it answers."""
WINDOW_HANG_TIMEOUT_S = 5.0
"""Without an answer before the window's process is given up."""
START_TIMEOUT_S = 20.0
"""What the process may take to start."""
FIRST_RESTART_S, MAX_RESTART_S = 0.25, 2.0
"""Between two attempts to start it; each pause is twice as long as the one before."""


class WindowProcess:
    """Shows pictures as OpenCvWindow does, in a process of its own. Main thread only."""

    def __init__(
        self,
        title: str,
        view: ViewState,
        actions: Mapping[str, Callable[[], None]],
        *,
        hang_timeout_s: float = WINDOW_HANG_TIMEOUT_S,
    ) -> None:
        """Start the process. Keys change `view` and call `actions`. Raises SinkError where there is no display.

        `hang_timeout_s`: without an answer before the process is replaced.
        """
        self._title, self._hang_timeout_s = title, hang_timeout_s
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._waiting_since: float | None = None  # main thread; when a picture was sent that is not answered yet
        self._memory: Image = np.empty(0, np.uint8)  # main thread; shared with the process
        self.problem = ""  # set like _process, below
        """Why nothing is shown; empty while all is well."""
        self.obey(view, actions)
        # The main thread sets it to None, and then starts the restarting thread, which sets it to a new one and ends.
        # That and close() exclude each other by _lock.
        self._process: ChildProcess | None = self._start()

    def obey(self, view: ViewState, actions: Mapping[str, Callable[[], None]], *, locked: bool = False) -> None:
        """Let keys change `view` and call `actions` from now on; none does anything when they are `locked`."""
        self._view, self._actions, self._locked = view, actions, locked

    def write(self, frame: OutputFrame) -> None:
        """Show a picture, unless the process is busy or away."""
        image = frame.image
        if not self._handle_answer(0.0) or (process := self._process) is None:
            return
        if self._memory.size < image.size:
            self._memory = np.frombuffer(process.mapped(image.size), np.uint8)
        np.copyto(self._memory[: image.size].reshape(image.shape), image)
        self._send(list(image.shape[:2]))

    def poll(self) -> None:
        """Let the process handle its window's events."""
        if self._handle_answer(0.0):
            self._send(None)

    def close(self) -> None:
        """End the process. Idempotent."""
        self._closed.set()
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.close()

    def _send(self, shape: list[int] | None) -> None:
        """Have the picture of `shape` (height, width) in the memory shown, or with None only events handled."""
        view = self._view.shared()
        process = self._process
        if process is None:
            return
        try:
            process.link.send_bytes(json.dumps({"shape": shape, "view": view, "locked": self._locked}).encode())
        except OSError:
            self._restart(process)
            return
        self._waiting_since = time.monotonic()
        self._handle_answer(SHOW_TIMEOUT_S)

    def _handle_answer(self, timeout: float) -> bool:
        """Wait for the answer and do what the user wants; True if the process has nothing left to do."""
        process = self._process
        if process is None or self._waiting_since is None:
            return process is not None
        try:
            if not process.link.poll(timeout):
                if time.monotonic() - self._waiting_since > self._hang_timeout_s:
                    self._restart(process)
                return False
            answer: dict[str, Any] = json.loads(process.link.recv_bytes())
        except (EOFError, OSError):
            self._restart(process)
            return False
        self._waiting_since = None
        self._view.update(answer["view"])
        for name in answer["actions"]:
            self._actions[name]()
        return True

    def _start(self) -> ChildProcess:
        """Start a process that has a display. Raises SinkError."""
        process = ChildProcess("app.sinks.window.worker")
        try:
            process.link.send_bytes(json.dumps({"title": self._title, "log": event_log.settings()}).encode())
            if not process.link.poll(START_TIMEOUT_S):
                raise EOFError
            error = json.loads(process.link.recv_bytes())
        except (EOFError, OSError):
            facts = process.end()
            process.close(0)
            raise SinkError("The window's process does not start", facts, "See its own messages above.") from None
        if error:
            process.close()
            raise SinkError(error["problem"], error["facts"], error["fix"])
        return process

    def _restart(self, process: ChildProcess) -> None:
        """Give `process` up, and start another one as soon as there is a display."""
        self._process, self._waiting_since = None, None
        self._memory = np.empty(0, np.uint8)
        self.problem = f"the window was lost: {process.end()}"
        message = "%(reason)s; looking for a display"
        log_event(log, logging.WARNING, "window_lost", message, reason=self.problem)
        threading.Thread(target=self._restart_loop, args=(process,), name="window restart", daemon=True).start()

    def _restart_loop(self, process: ChildProcess) -> None:
        process.close(0)
        backoff = Backoff(FIRST_RESTART_S, MAX_RESTART_S)
        while not self._closed.is_set():
            with contextlib.suppress(SinkError, OSError):
                replacement = self._start()
                with self._lock:
                    if not self._closed.is_set():
                        self._process, self.problem = replacement, ""
                        log_event(log, logging.INFO, "window_back", "the window is back")
                        return
                replacement.close()
            now = time.monotonic()
            backoff.failed(now)
            self._closed.wait(backoff.wait(now))
