"""The only queue between capture and engine. Bounded; drops the oldest (live) or blocks (lossless)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Ring(Generic[T]):
    """At most `capacity` items, one producer, one consumer, first in first out."""

    def __init__(self, capacity: int, *, lossless: bool, discard: Callable[[T], None] | None = None) -> None:
        """Make an empty ring. `discard` is given every item that nobody will get, in the thread that displaced it.

        `lossless`: put() blocks while the ring is full; else it drops the oldest item.
        """
        if capacity < 1:
            raise ValueError(f"a ring holds at least one item, not {capacity}")
        self._capacity, self._lossless, self._discard = capacity, lossless, discard
        self._change = threading.Condition()
        self._items: deque[T] = deque()  # guarded by _change
        self._closed = False  # guarded by _change
        self.dropped = 0  # the producer's thread
        """Items displaced by newer ones."""

    def put(self, item: T) -> bool:
        """Add an item; False if the ring is closed. A full ring blocks if lossless, else it drops its oldest item."""
        displaced: T | None = None
        with self._change:
            if self._lossless:
                # Ends by get() or by cancel(); the pipeline's stop always cancels.
                self._change.wait_for(lambda: self._closed or len(self._items) < self._capacity)
            closed = self._closed
            if closed:
                displaced = item
            else:
                if len(self._items) == self._capacity:
                    displaced = self._items.popleft()
                    self.dropped += 1
                self._items.append(item)
                self._change.notify_all()
        if displaced is not None and self._discard is not None:
            self._discard(displaced)
        return not closed

    def get(self, accept: Callable[[T], bool] | None = None) -> T | None:
        """Take the oldest item; block until there is one. None: closed and empty, or the oldest is not accepted.

        An item that is not accepted stays where it is.
        """
        with self._change:
            self._change.wait_for(lambda: self._items or self._closed)
            if not self._items or (accept is not None and not accept(self._items[0])):
                return None
            item = self._items.popleft()
            self._change.notify_all()
            return item

    def peek(self, timeout: float) -> T | None:
        """Return the oldest item and leave it there; None: closed and empty. Raises TimeoutError after `timeout` s."""
        with self._change:
            if not self._change.wait_for(lambda: self._items or self._closed, timeout):
                raise TimeoutError
            return self._items[0] if self._items else None

    def close(self) -> None:
        """End the input: get() hands out what is left and then None."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def cancel(self) -> None:
        """Close, and discard what is left: both sides are unblocked at once."""
        with self._change:
            self._closed = True
            left = list(self._items)
            self._items.clear()
            self._change.notify_all()
        if self._discard is not None:
            for item in left:
                self._discard(item)

    def __len__(self) -> int:
        return len(self._items)
