"""A child of this program that ends with it, however that ends. They share a socket and a piece of memory."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

START_THREAD = ThreadPoolExecutor(1, "child starter")
"""Its thread lives as long as the program: Linux ends a child with the very thread that has started it."""
EXIT_TIMEOUT_S = 1.0
"""How long a child is given to end by itself."""
PARENT_CHECK_PERIOD_S = 0.5
"""Between two looks at whether the parent is still there."""

PR_SET_PDEATHSIG = 1


class ChildProcess:
    """The parent's side: python -m MODULE, with `link` to talk to it and `memory` that both can map."""

    def __init__(self, module: str) -> None:
        """Start it; close() ends it. Raises OSError if the system has no room for another process."""
        self.memory = _anonymous()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = START_THREAD.submit(
                    subprocess.Popen,
                    [sys.executable, "-m", module, str(theirs.fileno()), str(self.memory)],
                    pass_fds=[theirs.fileno(), self.memory],
                    stdin=subprocess.DEVNULL,
                    cwd=Path(__file__).resolve().parents[2],
                    start_new_session=True,  # Ctrl-C is for the program, which ends this process itself
                ).result()
            except BaseException:
                ours.close()
                os.close(self.memory)
                raise
        self.link = Connection(ours.detach())
        if sys.platform.startswith("linux"):  # as urgent as whoever wants it (engines.support.priority)
            urgency = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, urgency)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def mapped(self, size: int) -> mmap.mmap:
        """Give the memory `size` bytes and return it; the map goes with the last view of it."""
        os.ftruncate(self.memory, size)
        return mmap.mmap(self.memory, size)

    def end(self) -> str:
        """Return how it has ended, in words, if it has."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.05)
        status = self._process.poll()
        if status is not None and status < 0:
            with contextlib.suppress(ValueError):
                return f"it was ended by {signal.Signals(-status).name}"
        return "it does not answer" if status is None else f"it ended with status {status}"

    def close(self, exit_timeout: float = EXIT_TIMEOUT_S) -> None:
        """End it, whatever it is doing, and let go of the memory. Idempotent.

        `exit_timeout`: seconds it has to end by itself.
        """
        with contextlib.suppress(OSError):
            self.link.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(exit_timeout)
        if self._process.poll() is None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # one that hangs in a driver ends when that lets it go
                self._process.wait(EXIT_TIMEOUT_S)
        if self.memory >= 0:
            os.close(self.memory)
            self.memory = -1


def inherited(arguments: list[str]) -> tuple[Connection, int]:
    """Return the child's side: its link to the parent and the memory's descriptor.

    From now on the child ends with its parent.
    """
    with contextlib.suppress(OSError, AttributeError):  # even while it is stopped (prctl(2))
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    return Connection(int(arguments[0])), int(arguments[1])


def _watch(parent: int) -> None:
    """End with the parent on other systems than Linux, too."""
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_PERIOD_S)
    os._exit(0)


def _anonymous() -> int:
    """A file descriptor of memory without a name: nothing is left behind, however the processes end."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("livesr")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
