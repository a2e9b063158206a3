"""What a picture says of itself while it is bicubic in place of a model's, whatever else is drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from app.config.schema import KioskConfig
from app.overlays.marks.bicubic_mark import BicubicMark
from app.overlays.stack import build_overlays
from app.overlays.view_state import ViewState
from app.pipeline.frame import Frame, Origin, OutputFrame
from app.pipeline.stats import Stats
from engines import bicubic
from engines.base import Condition, EngineState, Image, Spec
from tests.support.output_frames import flat, output_frame

pytestmark = pytest.mark.media

AWAY = EngineState(Condition.FALLBACK, "openvino: the engine's process has ended")
STATES = [AWAY, EngineState(Condition.STARTING, "not there yet"), EngineState(Condition.REDUCED, "the machine is hot")]


def spec(state: EngineState = AWAY, name: str = "bicubic") -> Spec:
    return dataclasses.replace(bicubic.spec_for((640, 360), 2), state=state, name=name)


def drawn(kiosk: KioskConfig, view: ViewState, made_by: Spec, origin: Origin = Origin.LIVE) -> Image:
    stats = Stats()
    stats.spec = made_by
    frame = output_frame(flat(), origin=origin)
    view.magnifier = kiosk.magnifier
    overlays = build_overlays(kiosk, view, stats, list, lambda: False, window=False, recorded=True)
    for overlay in (*overlays.picture, *overlays.recording):
        overlay.draw(frame)
    return frame.image


def label_of(side: Image) -> Image:
    rows, columns = np.nonzero((side != 120).any(2))
    return side[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.condition.value)
@pytest.mark.parametrize("magnifier", [False, True])
def test_without_captions_and_statistics_the_corner_says_it(state: EngineState, magnifier: bool) -> None:
    kiosk, view = KioskConfig(magnifier=magnifier), ViewState(overlay=False)
    marked, plain = (drawn(kiosk, view, spec(state, name)) for name in ("bicubic", "openvino"))
    rows, columns = np.nonzero((marked != plain).any(2))
    assert rows.min() > 0.9 * 720 and columns.min() > 0.85 * 1280, "small, and in the lower right corner"
    assert marked[650:, 1050:].max() > 230, "light letters"


def test_bicubic_that_was_asked_for_is_not_marked() -> None:
    assert (drawn(KioskConfig(), ViewState(overlay=False), bicubic.spec_for((640, 360), 2)) == 120).all()


@pytest.mark.parametrize("origin", list(Origin))
@pytest.mark.parametrize("sweep", [None, 8.0])
@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("languages", [(), ("ko", "en")])
def test_it_is_seen_in_every_combination(
    languages: tuple[str, ...], split: bool, sweep: float | None, origin: Origin
) -> None:
    kiosk = KioskConfig(languages=languages, sweep=sweep)
    fallback, model = (
        drawn(kiosk, ViewState(split=split, overlay=False), spec(name=name), origin) for name in ("bicubic", "openvino")
    )
    lower = np.s_[360:]
    assert not np.array_equal(fallback[lower], model[lower])


def test_both_sides_of_the_split_bear_the_same_label() -> None:
    image = drawn(KioskConfig(), ViewState(split=True, overlay=False), spec())
    assert np.array_equal(label_of(image[640:, :600]), label_of(image[640:, 680:]))


@pytest.mark.parametrize("size", [(16, 16), (48, 20), (20, 300)])
def test_a_tiny_picture_is_no_problem(size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), 120, np.uint8)
    BicubicMark(ViewState(), lambda: True).draw(OutputFrame(image, Frame(image, 0, 0, 0)))
    assert (image != 120).any()
