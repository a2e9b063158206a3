"""The knob: what keys do to the strength, what is said of it, and what --stats holds."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.config.schema import Config
from app.lifecycle import Lifecycle
from app.pipeline.frame import Frame, OutputFrame
from app.pipeline.stats import Stats
from app.pipeline.strength_knob import StrengthKnob
from engines.base import Condition, EngineState, Spec, Strength

SPEC = Spec("openvino", "CPU", "fast-x2-int8", "int8", 2, (64, 48), (128, 96), takes_strength=True)
BICUBIC = Spec("bicubic", "CPU", "bicubic", "u8", 2, (64, 48), (128, 96))
IMAGE = np.zeros((48, 64, 3), np.uint8)
PICTURE = OutputFrame(IMAGE, Frame(IMAGE, 0, 0.0, 0.0))


class Turned:
    """A knob at a session's strength, and what it has said."""

    def __init__(self, value: float = 1.0, spec: Spec | None = SPEC) -> None:
        self.strength, self.stats, self.said = Strength(value), Stats(), list[str]()
        self.stats.spec = spec
        self.knob = StrengthKnob(self.strength, self.stats, self.said.append)

    def press(self, steps: int, times: int = 1) -> float:
        for _ in range(times):
            self.knob.turn(steps)
            self.knob.write(PICTURE)
        return self.strength.value


def test_keys_turn_it_by_tenths_and_the_window_says_so() -> None:
    turned = Turned()
    assert turned.press(1) == 1.1 and turned.press(-1, 3) == 0.8
    assert turned.said == ["strength 1.1", "strength 1", "strength 0.9", "strength 0.8"]
    assert turned.knob.as_dict() == {"value": 0.8, "changes": 4, "effective": True}


def test_it_ends_at_0_and_2_and_says_so_again() -> None:
    turned = Turned()
    assert turned.press(1, 12) == 2 and turned.said[-3:] == ["strength 2"] * 3
    assert turned.press(-1, 22) == 0 and turned.said[-2:] == ["strength 0"] * 2
    assert turned.knob.as_dict()["changes"] == 30


def test_what_a_reload_changes_is_said_with_the_next_picture() -> None:
    turned = Turned()
    turned.knob.write(PICTURE)
    turned.strength.value = 0.35
    assert not turned.said
    turned.knob.write(PICTURE)
    turned.knob.write(PICTURE)
    assert turned.said == ["strength 0.35"] and turned.press(1) == 0.45


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        (BICUBIC, "bicubic interpolation adds no detail"),
        (replace(SPEC, model="theirs-x4", takes_strength=False), "theirs-x4 has no input for it"),
    ],
)
def test_where_it_has_no_effect_that_is_said_once_in_the_log_and_at_each_key(
    spec: Spec, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    turned = Turned(spec=spec)
    turned.knob.write(PICTURE)
    assert not caplog.records, "as trained: nobody has asked for anything"
    turned.press(-1, 2)
    assert turned.said == [f"strength {value} has no effect: {why}" for value in (0.9, 0.8)]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [f"the strength has no effect: {why}"]
    assert turned.knob.as_dict() == {"value": 0.8, "changes": 2, "effective": False}


def test_a_fallback_is_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    turned = Turned(0.5, replace(BICUBIC, state=EngineState(Condition.FALLBACK, "the server is away")))
    turned.knob.write(PICTURE)
    turned.stats.spec = SPEC
    turned.knob.write(PICTURE)
    assert not caplog.records and turned.knob.as_dict()["effective"]


def config(strength: float, **engine: Any) -> Config:
    return Config.model_validate({"engine": {"strength": strength, **engine}})


def test_a_reload_of_the_strength_alone_changes_it_under_the_session() -> None:
    configs = [config(0.5), config(0.5), config(1.5), config(1.0, depth=3), config(0.7, depth=3)]
    lifecycle = Lifecycle(Config(), lambda: configs.pop(0))
    lifecycle.reload()
    assert lifecycle.strength.value == 0.5 and lifecycle.config == config(0.5)
    lifecycle.strength.value = 0.9  # a key
    lifecycle.reload()
    assert lifecycle.strength.value == 0.9, "the file has not changed"
    lifecycle.reload()
    assert lifecycle.strength.value == 1.5 and not lifecycle.stopping.is_set()
    lifecycle.reload()  # something else, too: another session
    assert lifecycle.stopping.is_set() and lifecycle.strength.value == 1.5
    lifecycle.reload()  # before that session has begun
    assert lifecycle.strength.value == 1.5
    assert lifecycle.next_run() and lifecycle.config == config(0.7, depth=3)


@pytest.mark.parametrize("value", [-0.1, 2.1, True, "much"])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="strength"):
        Config.model_validate({"engine": {"strength": value}})
