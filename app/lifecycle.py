"""When a run ends, and with what configuration the next one begins: SIGINT, SIGTERM, SIGHUP."""

from __future__ import annotations

import errno
import logging
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from app.config.schema import Config
from engines.errors import UserError
from engines.support.event_log import log_event

log = logging.getLogger("livesr")


def user_message(error: Exception) -> str:
    """What `error` says; of one that no user can cause, that too."""
    if isinstance(error, UserError):
        return str(error)
    return f"this should not have happened: {type(error).__name__}: {error}"


SETTLING = 10.0
"""Seconds that all reloads asked for by signals may take after a run: they read files. An end waits for none."""


def terminal_gone() -> bool:
    """Whether the terminal that this program was started from is closed, or the connection to it broken."""
    import termios  # not at the top: Windows has neither it nor SIGHUP

    for number in (0, 1, 2):
        try:
            termios.tcgetattr(number)
        except termios.error as error:
            # What is a file, a pipe or closed has other errors: as under a service manager, there is no terminal.
            if error.args[0] == errno.EIO:
                return True
    return False


class Lifecycle:
    """Safe to use from any thread."""

    def __init__(self, config: Config, reread: Callable[[], Config], *, file: bool = True) -> None:
        """`reread` reads the configuration anew and raises UserError if it is bad; `file`: there is one to read."""
        self.config = config
        self.stopping = threading.Event()
        """Ends the run that is going on."""
        self._reread, self._file = reread, file
        self._acts: list[threading.Thread] = []  # what signals have asked for, and is not done yet
        self._rereading = threading.Lock()
        self._nohup = False
        self._before: Config | None = None
        self._pending: Config | None = None
        self._ending = False

    def end(self) -> None:
        """No more runs."""
        self._ending = True
        self.stopping.set()

    @property
    def ending(self) -> bool:
        """Whether end() was called, or a signal has come that calls it. Main thread only."""
        self._settle()
        return self._ending

    def _settle(self) -> None:
        """Have done what signals have asked for. While the main thread is in a library they wait for its return."""
        until = time.monotonic() + SETTLING
        while self._acts and not self._ending:
            self._acts.pop().join(max(0.0, until - time.monotonic()))

    def hang_up(self) -> None:
        """SIGHUP: the terminal is closed, so end; or, if there is a file, somebody has changed it, so reload."""
        if self._nohup or (self._file and not terminal_gone()):
            self.reload()
        else:
            self.end()
            message = "SIGHUP ends the program: its terminal is closed, or there is no --config to read again"
            log_event(log, logging.INFO, "sighup_exit", message)

    def reload(self) -> None:
        """End this run in favour of one with the configuration as it is now; a bad one is told and changes nothing."""
        with self._rereading:
            try:
                config = self._reread()
            except Exception as error:  # a fault of this program must not cost the picture either
                self._complain("reload_refused", "the new configuration is refused; the old one stays", error)
                return
            if config == (self._pending or self.config):
                log_event(log, logging.INFO, "reload_unchanged", "the configuration has not changed")
                return
            self._pending = config
            self.stopping.set()

    def _complain(self, event: str, message: str, error: Exception) -> None:
        fault = self.config.run.verbose and not isinstance(error, UserError)
        log_event(
            log,
            logging.ERROR,
            event,
            f"{message}\n  %(reason)s",
            exc_info=error if fault else None,
            reason=user_message(error),
        )

    def shown(self) -> None:
        """The run has shown a picture: its configuration works."""
        if self._before is not None:
            log_event(log, logging.INFO, "reload_done", "the new configuration is in use")
        self._before = None

    def again(self, error: Exception | None = None) -> bool:
        """After a run, which may have failed: whether another follows. Main thread only.

        A configuration that has come meanwhile is what follows in any case; else one that fails before its first
        picture gives way to the one before, the last that has worked.
        """
        if self.ending:
            return False
        if self._pending is not None:
            if error is not None:
                message = "this run has failed; the next one has the new configuration"
                self._complain("run_failed", message, error)
            # Not always this one: it may have been replaced before it had shown a picture.
            self._before, self.config, self._pending = self._before or self.config, self._pending, None
        elif error is not None and self._before is not None:
            self._complain("reload_rolled_back", "the new configuration fails; the old one is back", error)
            self.config, self._before = self._before, None
        else:
            return False
        self.stopping.clear()
        if self.ending or self._pending is not None:  # a signal since the lines above
            self.stopping.set()
        return True

    def listen(self) -> None:
        """To the signals. A second SIGINT or SIGTERM ends the program at once. Main thread only."""

        def handler(number: int, _frame: FrameType | None) -> None:
            if number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
                self._ending = True  # at once: no reload that hangs is waited for any more
            # Not from here: the handler may have interrupted the holder of a lock.
            act = self.hang_up if number == hangup else self.end
            thread = threading.Thread(target=act, daemon=True)
            self._acts = [*(one for one in self._acts if one.is_alive()), thread]
            thread.start()

        hangup = getattr(signal, "SIGHUP", None)  # Windows has none
        # Whoever started this with nohup wants it to outlive the terminal.
        self._nohup = hangup is not None and signal.getsignal(hangup) == signal.SIG_IGN
        for number in (signal.SIGINT, signal.SIGTERM, hangup):
            if number is not None:
                signal.signal(number, handler)
