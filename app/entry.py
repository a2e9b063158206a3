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
    try:
        from app.run import main  # takes a while
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package in ("app", "engines"):
            raise
        # As a UserError reads, which cannot be imported without NumPy.
        facts, fix = f"{sys.executable} has no package {package}", "./scripts/run sets it up"
        print(f"Error: The environment of this program is not set up\n  {facts}\n  {fix}", file=sys.stderr)
        sys.exit(2)

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
