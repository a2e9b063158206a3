"""Board: what computer this is, by the name its device tree gives; empty on a PC."""

from __future__ import annotations

import contextlib
from pathlib import Path

MODEL = Path("/proc/device-tree/model")


def model() -> str:
    """For example "NVIDIA Jetson Orin Nano Developer Kit"."""
    with contextlib.suppress(OSError):
        return MODEL.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    return ""


def is_jetson() -> bool:
    return "jetson" in model().lower() or Path("/etc/nv_tegra_release").exists()
