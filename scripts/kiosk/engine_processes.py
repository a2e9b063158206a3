"""The processes in which a program's engines compute."""

from __future__ import annotations

import contextlib
import time

import psutil

LOADING_S = 3.0
"""Seconds after which one that works has been loaded."""


def engines(program: psutil.Process) -> dict[psutil.Process, float]:
    """Return the engine processes of `program` and the processor seconds that each has used.

    Those that started in the last LOADING_S seconds are left out.
    """
    found: dict[psutil.Process, float] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in program.children():
            with contextlib.suppress(psutil.Error):
                if "engines.worker" in " ".join(child.cmdline()) and time.time() - child.create_time() > LOADING_S:
                    found[child] = sum(child.cpu_times()[:2])
    return found
