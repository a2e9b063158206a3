"""The heap, in a process of its own: what is free in the middle of it goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from app.system import malloc_trim
from app.system.malloc_trim import HeapTrimmer

ROOT = Path(__file__).parents[3]

# 40 MB in small pieces, of which every fiftieth stays: no free end that the C library gives back by itself.
CHILD = """
import ctypes, time
from contextlib import closing
import psutil
from app.system.malloc_trim import Heap
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
own = lambda: psutil.Process().memory_full_info().uss / 2**20
pieces = [ctypes.memset(libc.malloc(20000), 1, 20000) for _ in range(2000)]
for index, piece in enumerate(pieces):
    if index % 50:
        libc.free(piece)
before = own()
with closing(Heap(period=0.05)):
    until = time.monotonic() + 40
    while own() > before - 30 and time.monotonic() < until:
        time.sleep(0.05)
print(before - own())
"""


@pytest.mark.integration
@pytest.mark.skipif(malloc_trim.trimmer() is None, reason="the C library is not glibc")
def test_holes_are_given_back() -> None:
    told = subprocess.run([sys.executable, "-c", CHILD], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert float(told.stdout) > 30, told.stderr


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert malloc_trim.trimmer() is None
    with closing(HeapTrimmer(0.01)) as one:
        assert "heap" not in [thread.name for thread in threading.enumerate()]
    one.close()


def test_its_thread_ends() -> None:
    with closing(HeapTrimmer(1000)):
        pass
    assert "heap" not in [thread.name for thread in threading.enumerate()]
