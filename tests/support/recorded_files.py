"""The files that the program writes while it runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import av

from tests.support.program import LIMIT


def decoded_frames(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def wait_for_size(path: Path, size: int) -> None:
    end = time.monotonic() + LIMIT
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < end, f"{path} has not come"
        time.sleep(0.05)
