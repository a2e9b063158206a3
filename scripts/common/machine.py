"""Facts about this machine, printed with every figure that was measured on it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import psutil

REPORTED_PACKAGES = (
    *("openvino", "tensorrt", "tensorrt-rtx-cu13", "pycuda", "torch"),
    *("numpy", "av", "opencv-python", "opencv-python-headless"),
)
"""Packages whose versions are stated with the figures."""


def machine() -> dict[str, Any]:
    """Return processor, cores, memory in GiB, system, Python and the versions of REPORTED_PACKAGES."""
    versions = {}
    for name in REPORTED_PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def processor() -> str:
    """Return the processor's name, which on Linux the module platform knows as x86_64 only."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
