"""Tells systemd that the program is ready, what it does, and that it still makes progress (sd_notify(3)).

The protocol is one datagram; the libraries for it have not been kept for years.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable

from app.pipeline.frame import OutputFrame
from engines.support.event_log import log_event

log = logging.getLogger(__name__)


class Notifier:
    """Silent where no service manager listens."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        # An address that begins with @ is in the abstract namespace, whose names begin with a zero byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        own = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        told = os.environ.get("WATCHDOG_USEC", "")
        self.watchdog = int(told) / 1e6 if own and told.isdecimal() else 0.0
        """Seconds within which a sign of life is expected; 0: none is."""
        if told and not told.isdecimal():
            message = "WATCHDOG_USEC is %(value)r, which is no number: no sign of life is given"
            log_event(log, logging.WARNING, "watchdog_misconfigured", message, value=told)

    def tell(self, *lines: str) -> None:
        """For example READY=1, STATUS=text, WATCHDOG=1. Never raises, never waits."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto("\n".join(lines).encode(), self._address)

    def reloading(self) -> None:
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


class Watchdog:
    """The last of the sinks: whatever reaches it has been shown and recorded, and feeds the watchdog.

    So does the wait for a picture that is not due yet, as in a slow slide show; one that is overdue does not.
    """

    def __init__(
        self,
        notifier: Notifier,
        first: Callable[[], None],
        status: Callable[[], str],
        awaited: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`first` is called with the first picture; `status` in words is told along; `awaited` tells until when no
        picture is missing, in seconds of time.monotonic()."""
        self._notifier, self._first, self._status, self._awaited = notifier, first, status, awaited
        self._begun = False
        self._due = 0.0
        self._until = 0.0

    def write(self, frame: OutputFrame) -> None:
        now = time.monotonic()
        if not self._begun:
            self._begun = True
            self._notifier.tell("READY=1")
            self._first()
        self._feed(now)

    def _feed(self, now: float) -> None:
        if now >= self._due:
            # At most a third of what is allowed: two may be lost.
            self._due = now + min(1.0, self._notifier.watchdog / 3 or 1.0)
            self._notifier.tell("WATCHDOG=1", f"STATUS={self._status()}")

    def poll(self) -> None:
        now = time.monotonic()
        if self._begun and now < self._awaited():
            self._feed(now)
        elif not self._begun and now >= self._until:
            # A start may take minutes while an engine is built: ask for time as long as the main thread lives.
            self._until = now + 5
            self._notifier.tell("EXTEND_TIMEOUT_USEC=30000000", "STATUS=starting")
