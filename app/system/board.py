"""What computer this is, by the name its device tree gives; empty on a PC.

A container does not see the device tree; whoever starts one passes the name in LIVESR_BOARD (Dockerfile.l4t).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MODEL = Path("/proc/device-tree/model")


def model() -> str:
    """For example "NVIDIA Jetson Orin Nano Developer Kit"."""
    if told := os.environ.get("LIVESR_BOARD"):
        return told
    with contextlib.suppress(OSError):
        return MODEL.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    return ""
