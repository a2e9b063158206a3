"""Sizes in whole pages of memory."""

from __future__ import annotations

import mmap


def whole_pages(size: int) -> int:
    """Return `size` bytes, rounded up to whole pages."""
    return -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
