"""The only queue between capture and engine. Bounded; drops the oldest (live) or blocks (lossless)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Ring(Generic[T]):
    """At most `capacity` items, one producer, one consumer, first in first out."""

    def __init__(self, capacity: int, *, lossless: bool, discard: Callable[[T], None] = lambda item: None) -> None:
        """`discard` is given every item that nobody will get, in the thread that displaced it."""
        if capacity < 1:
            raise ValueError(f"a ring holds at least one item, not {capacity}")
        self._items: deque[T] = deque()
        self._capacity, self._lossless, self._discard = capacity, lossless, discard
        self._change = threading.Condition()
        self._closed = False
        self.dropped = 0
        """Items displaced by newer ones."""

    def put(self, item: T) -> bool:
        """Add an item. Full: a lossless ring blocks, the other drops its oldest. False: the ring is closed."""
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
        if displaced is not None:
            self._discard(displaced)
        return not closed

    def get(self, accept: Callable[[T], bool] = lambda item: True) -> T | None:
        """The oldest item; blocks until there is one. None: closed and empty, or the oldest is not accepted.

        An item that is not accepted stays where it is.
        """
        with self._change:
            self._change.wait_for(lambda: self._items or self._closed)
            if not self._items or not accept(self._items[0]):
                return None
            item = self._items.popleft()
            self._change.notify_all()
            return item

    def peek(self, timeout: float) -> T | None:
        """The oldest item, left in place. None: closed and empty. Raises TimeoutError after `timeout` seconds."""
        with self._change:
            if not self._change.wait_for(lambda: self._items or self._closed, timeout):
                raise TimeoutError
            return self._items[0] if self._items else None

    def close(self) -> None:
        """No more input: get() hands out what is left and then None."""
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
        for item in left:
            self._discard(item)

    def __len__(self) -> int:
        return len(self._items)
