"""Control: when a run ends, and with what configuration the next one begins: SIGINT, SIGTERM, SIGHUP."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType

from app.config import Config
from engines.base import UserError

log = logging.getLogger("livesr")


class Control:
    """Safe to use from any thread."""

    def __init__(self, config: Config, reread: Callable[[], Config]) -> None:
        """`reread` reads the configuration anew and raises UserError if it is bad."""
        self.config = config
        self.stopping = threading.Event()
        """Ends the run that is going on."""
        self._reread = reread
        self._before: Config | None = None
        self._pending: Config | None = None
        self._ending = False

    def end(self) -> None:
        """No more runs."""
        self._ending = True
        self.stopping.set()

    def reload(self) -> None:
        """End this run in favour of one with the configuration as it is now; a bad one is told and changes nothing."""
        try:
            config = self._reread()
        except UserError as error:
            log.error("the new configuration is refused; the old one stays\n  %s", error)
            return
        if config == self.config:
            log.info("the configuration has not changed")
            return
        self._pending = config
        self.stopping.set()

    @property
    def reloading(self) -> bool:
        """Whether this run ends for the sake of another."""
        return self._pending is not None and not self._ending

    def shown(self) -> None:
        """The run has shown a picture: its configuration works."""
        if self._before is not None:
            log.info("the new configuration is in use")
        self._before = None

    def again(self, error: UserError | None = None) -> bool:
        """After a run: whether another follows. One that fails before its first picture gives way to the old one."""
        if self._ending:
            return False
        if error is None and self._pending is not None:
            self._before, self.config, self._pending = self.config, self._pending, None
        elif error is not None and self._before is not None:
            log.error("the new configuration fails; the old one is back\n  %s", error)
            self.config, self._before = self._before, None
        else:
            return False
        self.stopping.clear()
        if self._ending:  # a signal between the two lines above
            self.stopping.set()
        return True

    def listen(self) -> None:
        """To the signals. A second SIGINT or SIGTERM ends the program at once. Main thread only."""

        def handler(number: int, _frame: FrameType | None) -> None:
            if number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            # Not from here: the handler may have interrupted the holder of a lock.
            act = self.reload if number == getattr(signal, "SIGHUP", None) else self.end
            threading.Thread(target=act, daemon=True).start()

        for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", None)):
            if number is not None:
                signal.signal(number, handler)
