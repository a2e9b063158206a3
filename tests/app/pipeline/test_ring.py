"""The ring: order, bound, drops, blocking, the end."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.pipeline.ring import Ring

LIMIT = 10.0


@given(st.integers(1, 5), st.lists(st.sampled_from(["put", "get"]), max_size=60))
def test_live_ring_keeps_the_newest_in_order(capacity: int, steps: list[str]) -> None:
    discarded: list[int] = []
    ring: Ring[int] = Ring(capacity, lossless=False, discard=discarded.append)
    model: list[int] = []
    count = 0
    for step in steps:
        if step == "put":
            assert ring.put(count)
            model.append(count)
            count += 1
            del model[:-capacity]
        elif model:
            assert ring.get() == model.pop(0)
        assert len(ring) == len(model) <= capacity
    ring.close()
    rest = []
    while (item := ring.get()) is not None:
        rest.append(item)
    assert rest == model
    assert ring.dropped == len(discarded)
    assert discarded == sorted(discarded)


@given(st.integers(1, 4), st.integers(0, 50))
def test_lossless_ring_loses_nothing(capacity: int, count: int) -> None:
    ring: Ring[int] = Ring(capacity, lossless=True)

    def produce() -> None:
        for item in range(count):
            ring.put(item)
        ring.close()

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    got = []
    while (item := ring.get()) is not None:
        assert len(ring) <= capacity
        got.append(item)
    producer.join(LIMIT)
    assert got == list(range(count))
    assert ring.dropped == 0


@pytest.mark.parametrize("side", ["put", "get"])
def test_cancel_unblocks_both_sides(side: str) -> None:
    ring: Ring[int] = Ring(1, lossless=True)
    results: list[object] = []
    if side == "put":
        ring.put(0)
    work = (lambda: results.append(ring.put(1))) if side == "put" else (lambda: results.append(ring.get()))
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ring.cancel()
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert results == ([False] if side == "put" else [None])


def test_cancel_discards_what_is_left_and_what_comes_later() -> None:
    discarded: list[int] = []
    ring: Ring[int] = Ring(3, lossless=False, discard=discarded.append)
    ring.put(1)
    ring.put(2)
    ring.cancel()
    assert not ring.put(3)
    assert ring.get() is None
    assert discarded == [1, 2, 3]


def test_an_item_that_is_not_accepted_stays() -> None:
    ring: Ring[int] = Ring(2, lossless=True)
    ring.put(1)
    assert ring.get(lambda item: item == 2) is None
    assert ring.peek(0) == 1
    assert ring.get() == 1


def test_peek_waits_no_longer_than_told() -> None:
    ring: Ring[int] = Ring(1, lossless=True)
    with pytest.raises(TimeoutError):
        ring.peek(0.01)
    ring.close()
    assert ring.peek(0.01) is None


def test_a_ring_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Ring(0, lossless=True)


def test_peek_tells_what_get_will_give() -> None:
    ring: Ring[int] = Ring(2, lossless=True)
    ring.put(1)
    ring.put(2)
    assert ring.peek(0) == ring.get() == 1
