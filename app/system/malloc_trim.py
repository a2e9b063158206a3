"""Access to functions of the GNU C library's allocator.

Cameras and codecs that come and go leave holes of their own sizes in the heap, which grows by a few megabytes an hour
without anything being leaked. malloc_trim() returns whole free pages, in the middle of the heap too (malloc_trim(3)).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def find_glibc_function(name: str) -> Callable[..., int] | None:
    """Return a function that only glibc has, as those of its malloc are; None with another C library."""
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
        return function
    except (AttributeError, OSError, TypeError):  # musl, macOS, Windows
        return None


def find_malloc_trim() -> Callable[[int], int] | None:
    """Return malloc_trim(pad), which returns 1 if it gave memory back; None without glibc."""
    return find_glibc_function("malloc_trim")
