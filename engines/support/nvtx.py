"""Ranges for Nsight Systems: what the host does when, by the names of the stages. Without nvtx they do nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

try:
    import nvtx
except ImportError:
    nvtx = None

T = TypeVar("T")


def nvtx_range(name: str) -> AbstractContextManager[Any]:
    """Return a range to be made once and entered many times, in any thread (nsys profile --trace=cuda,nvtx)."""
    if nvtx is None:
        return nullcontext()
    annotation: AbstractContextManager[Any] = nvtx.annotate(name, domain="livesr")
    return annotation


def nvtx_iterate(name: str, items: Iterable[T]) -> Iterator[T]:
    """Yield `items`, with a range from the moment each is asked for until it is there."""
    return iter(items) if nvtx is None else _around(nvtx_range(name), items)


def _around(marked: AbstractContextManager[Any], items: Iterable[T]) -> Iterator[T]:
    iterator = iter(items)
    while True:
        with marked:
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item
