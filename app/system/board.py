"""Which board this is, by the name in its device tree; empty on a PC.

A container does not see the device tree; whoever starts one passes the name in LIVESR_BOARD (Dockerfile.l4t).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

MODEL_FILE = Path("/proc/device-tree/model")


def model() -> str:
    """Return the board's name, such as "NVIDIA Jetson Orin Nano Developer Kit"; empty on a PC."""
    if name := os.environ.get("LIVESR_BOARD"):
        return name
    with contextlib.suppress(OSError):
        return MODEL_FILE.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    return ""
