"""The divider that moves by itself."""

from __future__ import annotations

import time

import numpy as np
import pytest

from app.overlays.split_sweep import EDGE_SHARE, SplitSweep
from app.overlays.view_state import ViewState


def test_the_divider_moves_by_itself_and_lets_a_hand_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    view, now, places = ViewState(split=True), 100.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    sweep = SplitSweep(view, 10)
    for _ in range(400):
        now += 0.05
        sweep.advance()
        places.append(view.divider)
    assert places[0] == pytest.approx(0.5, abs=0.02)
    assert min(places) == pytest.approx(EDGE_SHARE, abs=0.01) and max(places) == pytest.approx(1 - EDGE_SHARE, abs=0.01)
    assert np.abs(np.diff(places)).max() < 0.02, "slowly"
    view.move(0.2)
    for _ in range(100):
        now += 0.1
        sweep.advance()
        assert view.divider == 0.2
    for _ in range(60):
        now += 0.1
        before = view.divider
        sweep.advance()
        assert abs(view.divider - before) < 0.05, "it goes on from where it was left"
    assert view.divider != 0.2
