"""Work in the background that leaves the processor to whoever shows the picture."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

NICE_INCREMENT = 10
"""By how much (nice(2)); the scheduler then gives nine tenths of a busy core to the picture."""
CAP_SYS_NICE = 23
"""capability.h"""


@contextlib.contextmanager
def low_priority() -> Iterator[None]:
    """Give the calling thread, and whatever threads and processes it starts, low priority until the end of the block.

    Does nothing where the priority could not be raised again afterwards: on other systems than Linux, where a thread
    has none of its own, and for users whose RLIMIT_NICE forbids it (the service has LimitNICE).
    """
    thread = threading.get_native_id()
    if not sys.platform.startswith("linux") or not _may_return(usual := os.getpriority(os.PRIO_PROCESS, thread)):
        yield
        return
    quiet = min(19, usual + NICE_INCREMENT)
    os.setpriority(os.PRIO_PROCESS, thread, quiet)
    try:
        yield
    finally:
        # Threads and processes inherit it from the one that starts them.
        for task in _tasks():
            with contextlib.suppress(OSError):
                if os.getpriority(os.PRIO_PROCESS, task) == quiet:
                    os.setpriority(os.PRIO_PROCESS, task, usual)


def _may_return(nice: int) -> bool:
    """Whether this process may take priority `nice` again, once it has given it up (getrlimit(2), RLIMIT_NICE)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NICE)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    may_all = int(status.partition("CapEff:")[2].split()[0], 16) >> CAP_SYS_NICE & 1
    return bool(may_all) or soft == resource.RLIM_INFINITY or 20 - soft <= nice


def _tasks() -> Iterator[int]:
    """The threads of this process and of its children."""
    for process in (os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))):
        with contextlib.suppress(OSError):
            yield from (int(task.name) for task in Path(f"/proc/{process}/task").iterdir())
