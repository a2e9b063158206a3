"""What only the window shows: the recording mark and the hint at the help."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray

from app.config.schema import KioskConfig
from app.overlays.magnifier import Magnifier
from app.overlays.marks.window_marks import HINT_S, HelpHint, RecordingMark
from app.overlays.stack import build_overlays
from app.overlays.view_state import ViewState
from app.pipeline.stats import Stats
from engines.base import Image
from tests.support.output_frames import flat, output_frame


def red(image: Image) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the red pixels."""
    rows, columns = np.nonzero((image[..., 2] > 180) & (image[..., :2].max(2) < 90))
    return rows, columns


@pytest.mark.parametrize("magnified", [False, True])
def test_the_mark_is_there_while_a_recording_runs_and_covers_no_pane(magnified: bool) -> None:
    running, view = [False], ViewState(magnifier=magnified)
    magnifier = Magnifier(view)
    mark = RecordingMark(lambda: running[0], magnifier, view.text_height)
    for running[0] in (False, True, False):
        shown = output_frame(flat())
        magnifier.tracker.draw(shown)
        magnifier.draw(shown)
        before = shown.image.copy()
        mark.draw(shown)
        assert np.array_equal(before, shown.image) == (not running[0])
        rows, columns = red(shown.image)
        if running[0]:
            assert columns.min() > 1100 and rows.min() >= magnifier.bottom
            assert abs(np.ptp(rows) - np.ptp(columns)) <= 2, "a disc that no letter covers"


def test_the_hint_is_there_for_the_first_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now, view = [100.0], ViewState()
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    hint = HelpHint(view, view.text_height)

    def drawn() -> bool:
        shown = output_frame(flat())
        hint.draw(shown)
        return bool((shown.image != 120).any())

    assert drawn()
    view.say("a notice")
    assert not drawn(), "they have the same place"
    now[0] += HINT_S - 1
    assert drawn()
    now[0] += 1.1
    assert not drawn()


def test_whoever_has_found_the_help_is_not_told_again() -> None:
    view = ViewState(help=True)
    hint = HelpHint(view, view.text_height)
    for view.help in (True, False):
        shown = output_frame(flat())
        hint.draw(shown)
        assert (shown.image == 120).all()


@pytest.mark.parametrize(("kiosk", "hinted"), [(KioskConfig(), True), (KioskConfig(lock_keys=True), False)])
def test_only_the_window_has_them_and_only_where_keys_work(kiosk: KioskConfig, hinted: bool) -> None:
    overlays = build_overlays(kiosk, ViewState(), Stats(), list, lambda: True, window=True, recorded=True)
    assert [type(overlay) for overlay in overlays.screen if isinstance(overlay, HelpHint | RecordingMark)] == [
        RecordingMark,
        *([HelpHint] if hinted else []),
    ]
    assert not [overlay for overlay in overlays.recording if isinstance(overlay, HelpHint | RecordingMark)]
