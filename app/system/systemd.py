"""Tells systemd when the program is ready, what it is doing, and that it still makes progress (sd_notify(3)).

The protocol is one datagram; the libraries for it have been unmaintained for years.
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
    """Sends notifications to the service manager; does nothing if there is none. Main thread only."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        # An address that begins with @ is in the abstract namespace, whose names begin with a zero byte.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        timeout_us = os.environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(timeout_us) / 1e6 if for_us and timeout_us.isdecimal() else 0.0
        """Time within which a sign of life is expected; 0 if none is."""
        if timeout_us and not timeout_us.isdecimal():
            message = "WATCHDOG_USEC is %(value)r, which is not a number: the watchdog is not notified"
            log_event(log, logging.WARNING, "watchdog_misconfigured", message, value=timeout_us)

    def tell(self, *lines: str) -> None:
        """Send lines such as READY=1, STATUS=text or WATCHDOG=1. Never raises, never waits."""
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.sendto("\n".join(lines).encode(), self._address)

    def reloading(self) -> None:
        """Say that the configuration is being reloaded; READY=1 ends that."""
        self.tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


class Watchdog:
    """The last of the sinks: what reaches it has been shown and recorded, and feeds systemd's watchdog.

    So does waiting for a picture that is not due yet, as in a slow slide show, but not for one that is overdue.
    """

    def __init__(
        self,
        notifier: Notifier,
        on_first: Callable[[], None],
        status: Callable[[], str],
        awaited: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Begin to wait for the first picture.

        Args:
            notifier: Where signs of life are sent.
            on_first: Called with the first picture.
            status: Returns one line for the service manager.
            awaited: Returns until when no picture is missing, in seconds of time.monotonic().
        """
        self._notifier, self._on_first, self._status, self._awaited = notifier, on_first, status, awaited
        self._begun = False
        self._feed_at = self._extend_at = 0.0

    def write(self, frame: OutputFrame) -> None:
        """Feed the watchdog; with the first picture, say that the program is ready."""
        now = time.monotonic()
        if not self._begun:
            self._begun = True
            self._notifier.tell("READY=1")
            self._on_first()
        self._feed(now)

    def _feed(self, now: float) -> None:
        if now >= self._feed_at:
            # At least three times within the timeout, so that two may be lost.
            self._feed_at = now + min(1.0, self._notifier.watchdog_s / 3 or 1.0)
            self._notifier.tell("WATCHDOG=1", f"STATUS={self._status()}")

    def poll(self) -> None:
        """Feed the watchdog while no picture is due; before the first one, ask for more time to start."""
        now = time.monotonic()
        if self._begun and now < self._awaited():
            self._feed(now)
        elif not self._begun and now >= self._extend_at:
            # Building an engine may take minutes: ask for time as long as the main thread lives.
            self._extend_at = now + 5
            self._notifier.tell("EXTEND_TIMEOUT_USEC=30000000", "STATUS=starting")
