"""Run a command as a child process and measure what it took: time, processor time, memory."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.errors import UserError

QUOTED_LINES = 15
"""Lines of a failed command's output that the error repeats."""
MEMORY_SAMPLING_S = 0.05


class ChildError(UserError):
    """A command that was to be measured has failed or has not ended in time."""


@dataclass(frozen=True)
class Usage:
    """What a command took from its start to its end."""

    wall_s: float
    cpu_s: float
    """User and system time of the process and of the children it has waited for, by wait4(2)."""
    peak_memory_mib: float
    """The most that the process itself had resident, as last seen in /proc; 0 where there is no /proc."""
    output: str
    """Standard output and standard error, in the order they were written."""


def measure_child(
    command: Sequence[str], *, name: str, cwd: Path, environment: Mapping[str, str] | None = None, limit_s: float
) -> Usage:
    """Run `command` in `cwd` to its end.

    `environment` is the whole environment of the process, None this process's own; `name` is what an error calls the
    command. A command that has not ended after `limit_s` seconds is killed with all its children. Raises ChildError.
    """
    with tempfile.TemporaryFile() as output:
        begun = time.monotonic()
        # A session of its own, so that the children of a command that is killed are killed along with it.
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        timer = threading.Timer(limit_s, _kill, [process.pid])
        timer.daemon = True
        timer.start()
        memory = _PeakMemory(process.pid)
        try:
            _, status, used = os.wait4(process.pid, 0)  # Popen.wait() would not return what was used
            wall_s = time.monotonic() - begun
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            timer.cancel()
            memory.stop()
            if process.returncode is None:  # Ctrl-C
                _kill(process.pid)
                process.wait()
        output.seek(0)
        words = output.read().decode(errors="replace").strip()
    if process.returncode:
        late = f", which is all it may take: {limit_s:g} s" if wall_s >= limit_s else ""
        ended = f"It ended with {process.returncode} after {wall_s:.1f} s{late}."
        last = words.splitlines()[-QUOTED_LINES:]
        raise ChildError(
            f"{name} has failed",
            "\n  ".join([ended, *last]),
            f"Try it by hand: cd {shlex.quote(str(cwd))} && PYTHONPATH=. {shlex.join(command)}",
        )
    return Usage(wall_s, used.ru_utime + used.ru_stime, memory.mib, words)


def _kill(pid: int) -> None:
    """Kill the session that `pid` leads."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


class _PeakMemory:
    """Reads a process's high-water mark until it ends; ru_maxrss would carry its parent's along (proc(5))."""

    def __init__(self, pid: int) -> None:
        self.mib = 0.0
        self._status, self._stop = Path(f"/proc/{pid}/status"), threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._stop.wait(MEMORY_SAMPLING_S):
            try:
                mark = self._status.read_text(encoding="ascii").partition("VmHWM:")[2].split()
            except OSError:
                return
            if mark:  # a process that has ended has none
                self.mib = int(mark[0]) / 1024

    def stop(self) -> None:
        """End the sampling; `mib` stays."""
        self._stop.set()
        self._thread.join()
