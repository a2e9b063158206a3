"""Decides when a session ends and which configuration the next one has: SIGINT, SIGTERM, SIGHUP, reload, roll back."""

from __future__ import annotations

import errno
import logging
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from app.config.schema import Config
from engines.base import Strength
from engines.errors import UserError
from engines.support.event_log import log_event

log = logging.getLogger("livesr")


def user_message(error: Exception) -> str:
    """Return what to show of `error`, which is marked as a fault of the program unless it is a UserError."""
    if isinstance(error, UserError):
        return str(error)
    return f"this should not have happened: {type(error).__name__}: {error}"


RELOAD_TIMEOUT_S = 10.0
"""Time that reloads which signals have asked for may take after a session: they read files. An end waits for none."""


def terminal_gone() -> bool:
    """Whether the terminal that this program was started from is closed, or the connection to it is broken."""
    import termios  # not at the top: Windows has neither it nor SIGHUP

    for number in (0, 1, 2):
        try:
            termios.tcgetattr(number)
        except termios.error as error:
            # Files, pipes and closed descriptors give other errors: there is no terminal, as under a service manager.
            if error.args[0] == errno.EIO:
                return True
    return False


class Lifecycle:
    """Holds the configuration of the session in progress, and what is to follow it.

    end(), reload() and on_sighup() may be called from any thread, the rest from the main thread alone.
    """

    def __init__(self, config: Config, reread: Callable[[], Config], *, file: bool = True) -> None:
        """Begin with `config`.

        Args:
            config: The configuration of the first session.
            reread: Reads the configuration again. Raises UserError if it is bad.
            file: Whether there is a file to read again.
        """
        self.config = config
        """The configuration of the session in progress. Written by the main thread, and by a reload of the strength."""
        self.strength = Strength(config.engine.strength)
        """How much detail is added now: keys may have changed it since it was configured."""
        self.stopping = threading.Event()
        """Ends the session in progress."""
        self._reread, self._file = reread, file
        self._reload_lock = threading.Lock()  # one reload at a time
        self._pending: Config | None = None  # what a reload has read; any thread, one assignment each
        self._ending = False  # any thread; never reset
        self._signal_threads: list[threading.Thread] = []  # main thread, its signal handler included
        self._nohup = False  # main thread
        self._last_working: Config | None = None  # main thread; None once `config` has worked

    def end(self) -> None:
        """End the session in progress and let no other follow."""
        self._ending = True
        self.stopping.set()

    @property
    def ending(self) -> bool:
        """Whether end() was called, or a signal has come that calls it. Main thread only."""
        self._finish_signals()
        return self._ending

    def _finish_signals(self) -> None:
        """Wait for what signals have started, which may have been since the main thread returned from a library."""
        until = time.monotonic() + RELOAD_TIMEOUT_S
        while self._signal_threads and not self._ending:
            self._signal_threads.pop().join(max(0.0, until - time.monotonic()))

    def on_sighup(self) -> None:
        """End if the terminal is closed or there is no file; otherwise the file has been changed, so reload."""
        if self._nohup or (self._file and not terminal_gone()):
            self.reload()
        else:
            self.end()
            message = "SIGHUP ends the program: its terminal is closed, or there is no --config to read again"
            log_event(log, logging.INFO, "sighup_exit", message)

    def reload(self) -> None:
        """Let a session with the configuration as it is now follow this one, and end this one.

        A configuration that is bad is logged and changes nothing, and so is one that has not changed. Of one in which
        only the strength has changed, this session takes that on.
        """
        with self._reload_lock:
            try:
                config = self._reread()
            except Exception as error:  # even a fault of this program must not cost the picture
                self._log_failure("reload_refused", "the new configuration is refused; the old one stays", error)
                return
            if config == (self._pending or self.config):
                log_event(log, logging.INFO, "reload_unchanged", "the configuration has not changed")
                return
            if self._pending is None and config.with_strength(self.config.engine.strength) == self.config:
                self.config, self.strength.value = config, config.engine.strength
                log_event(log, logging.INFO, "reload_done", "the new configuration is in use")
                return
            self._pending = config
            self.stopping.set()

    def _log_failure(self, event: str, message: str, error: Exception) -> None:
        traceback = error if self.config.run.verbose and not isinstance(error, UserError) else None
        reason = user_message(error)
        log_event(log, logging.ERROR, event, f"{message}\n  %(reason)s", exc_info=traceback, reason=reason)

    def mark_working(self) -> None:
        """Note that the session has shown a picture, so that its configuration works."""
        if self._last_working is not None:
            log_event(log, logging.INFO, "reload_done", "the new configuration is in use")
        self._last_working = None

    def next_run(self, error: Exception | None = None) -> bool:
        """Return whether another session follows the one that has ended, with `error` if it failed. Main thread only.

        A configuration that was read meanwhile is the next one in any case. Otherwise one that failed before its first
        picture gives way to the last one that has worked.
        """
        if self.ending:
            return False
        if self._pending is not None:
            if error is not None:
                message = "this session has failed; the next one has the new configuration"
                self._log_failure("session_failed", message, error)
            # Not always `config`: that may be replaced before it has shown a picture.
            self._last_working, self.config, self._pending = self._last_working or self.config, self._pending, None
        elif error is not None and self._last_working is not None:
            self._log_failure("reload_rolled_back", "the new configuration has failed; the old one is back", error)
            self.config, self._last_working = self._last_working, None
        else:
            return False
        self.stopping.clear()
        if self.ending or self._pending is not None:  # a signal has come since the lines above
            self.stopping.set()
        return True

    def listen(self) -> None:
        """Install the signal handlers. A second SIGINT or SIGTERM ends the program at once. Main thread only."""

        def handler(number: int, _frame: FrameType | None) -> None:
            if number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
                self._ending = True  # at once: a reload that hangs is no longer waited for
            # In a thread, because the handler may have interrupted the holder of a lock.
            thread = threading.Thread(target=self.on_sighup if number == sighup else self.end, daemon=True)
            self._signal_threads = [*(other for other in self._signal_threads if other.is_alive()), thread]
            thread.start()

        sighup = getattr(signal, "SIGHUP", None)  # Windows has none
        # Whoever started this with nohup wants it to outlive the terminal.
        self._nohup = sighup is not None and signal.getsignal(sighup) == signal.SIG_IGN
        for number in (signal.SIGINT, signal.SIGTERM, sighup):
            if number is not None:
                signal.signal(number, handler)
