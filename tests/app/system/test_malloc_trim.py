"""The heap, in a process of its own: what is free in the middle of it goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

from app.system.malloc_trim import find_malloc_trim

ROOT = Path(__file__).parents[3]

# 40 MB in small pieces, of which every fiftieth stays: no free end that the C library gives back by itself.
CHILD = """
import ctypes, time
from contextlib import closing
import psutil
from app.system.telemetry import Telemetry
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
memory_mb = lambda: psutil.Process().memory_full_info().uss / 2**20
pieces = [ctypes.memset(libc.malloc(20000), 1, 20000) for _ in range(2000)]
for index, piece in enumerate(pieces):
    if index % 50:
        libc.free(piece)
before = memory_mb()
with closing(Telemetry(period_s=0.05, trim_period_s=0.05)):
    until = time.monotonic() + 40
    while memory_mb() > before - 30 and time.monotonic() < until:
        time.sleep(0.05)
print(before - memory_mb())
"""


@pytest.mark.integration
@pytest.mark.skipif(find_malloc_trim() is None, reason="the C library is not glibc")
def test_holes_are_given_back() -> None:
    child = subprocess.run([sys.executable, "-c", CHILD], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert child.returncode == 0, child.stderr
    assert float(child.stdout) > 30, child.stderr


def test_another_c_library_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert find_malloc_trim() is None
