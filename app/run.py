"""Live super-resolution: `python -m app.run [options]`, or `livesr`. `--help` lists the options.

This file is the program's door: it decides what happens before there is anything to close (Ctrl-C, a missing package)
and how the process ends. It imports the standard library alone, so that it can.
"""

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
"""Exit status after Ctrl-C while there is nothing to close yet, as shells report it."""
NOT_INSTALLED = 2
"""Exit status when a package is missing: the program cannot be used as it stands, as with a wrong option."""


def main_entry() -> NoReturn:
    """Run the program and end the process with its exit status. Main thread only."""

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        os._exit(INTERRUPTED)  # no KeyboardInterrupt: some half-imported modules would swallow it

    handler = signal.signal(signal.SIGINT, interrupted)
    try:
        from app.application import main  # takes a while

        signal.signal(signal.SIGINT, handler)
        status = main()
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package in ("app", "engines"):
            raise  # a fault of ours
        # As a UserError reads, which cannot be imported without NumPy.
        facts, fix = f"{sys.executable} has no package {package}", "./scripts/run sets it up"
        print(f"Error: The environment of this program is not set up\n  {facts}\n  {fix}", file=sys.stderr)
        status = NOT_INSTALLED
    exit_process(status)


def exit_process(status: int) -> NoReturn:
    """End the process with `status`, even while threads hang in a vendor's driver.

    The interpreter's own shutdown ends those threads somewhere inside the driver, and what then cleans up after them
    may abort the process (pycuda's context stack does). Everything that had to be closed has been closed by now.
    """
    if threading.active_count() == 1:
        sys.exit(status)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):  # closed before the start, or since
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    main_entry()
