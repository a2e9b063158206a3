"""The program from its first import to its last word, for `python -m app.run` and `livesr` alike."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""The status of a program that Ctrl-C has ended before there was anything to close, as shells have it."""


def enter() -> NoReturn:
    """Run it and end the process. Main thread only."""

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        os._exit(INTERRUPTED)  # no KeyboardInterrupt: some modules, half imported, would swallow it

    before = signal.signal(signal.SIGINT, interrupted)
    from app.run import main  # takes a while

    signal.signal(signal.SIGINT, before)
    leave(main())


def leave(status: int) -> NoReturn:
    """End the process with `status`; threads that hang in a vendor's driver cannot change that.

    The interpreter's own end would have them end too, somewhere in the driver, and what cleans up after them there may
    abort the process (pycuda's stack of contexts does). Whatever there was to close has been closed.
    """
    if threading.active_count() == 1:
        sys.exit(status)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, before the start or since
            stream.flush()
    os._exit(status)
