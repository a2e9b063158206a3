"""Ranges for Nsight Systems: what the host does when, by the names of the stages. Nothing at all without nvtx."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

try:
    import nvtx
except ImportError:
    nvtx = None


def named(name: str) -> AbstractContextManager[Any]:
    """A range to be made once and entered many times, in any thread (nsys profile --trace=cuda,nvtx)."""
    if nvtx is None:
        return nullcontext()
    made: AbstractContextManager[Any] = nvtx.annotate(name, domain="livesr")
    return made
