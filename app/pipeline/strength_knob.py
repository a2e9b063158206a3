"""The knob of how much detail is added: keys and reloads turn it, and the window and the log say what comes of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from app.pipeline.frame import OutputFrame
from app.pipeline.stats import Stats
from engines.base import Spec, Strength
from engines.catalog.contract import MAX_STRENGTH
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

KEY_STEP = 0.1
"""By how much a key changes the strength."""


class StrengthKnob:
    """Turns a session's Strength, and as a sink notes what others have turned it to. Main thread only."""

    def __init__(self, strength: Strength, stats: Stats, say: Callable[[str], None]) -> None:
        """Turn `strength`; `stats` says what makes the picture, and `say` shows a short message for a while."""
        self._strength, self._stats, self._say = strength, stats, say
        self._seen = strength.value
        self._changes = 0
        self._warned = False

    def turn(self, steps: int) -> None:
        """Change the strength by so many steps of KEY_STEP, and say so even where it cannot go any further."""
        value = round(self._strength.value + steps * KEY_STEP, 2)
        self._strength.value = min(MAX_STRENGTH, max(0.0, value))
        if self._strength.value == self._seen:
            self._say(self._text())

    def write(self, frame: OutputFrame) -> None:
        """Say it if the strength has changed since the last picture, and once if it has no effect."""
        value = self._strength.value
        if value != self._seen:
            self._seen = value
            self._changes += 1
            self._say(self._text())
            log_event(log, logging.INFO, "strength_changed", "%(text)s", text=self._text(), strength=value)
        spec = self._stats.spec
        # What stands in for another engine is not what was asked for, and will go.
        if value != 1 and not self._warned and spec is not None and spec.state.ok and not spec.takes_strength:
            self._warned = True
            message = "the strength has no effect: %(reason)s"
            log_event(log, logging.WARNING, "strength_ineffective", message, reason=why_ineffective(spec))

    def _text(self) -> str:
        spec = self._stats.spec
        if spec is not None and not spec.takes_strength:
            return f"strength {self._strength.value:g} has no effect: {why_ineffective(spec)}"
        return f"strength {self._strength.value:g}"

    def as_dict(self) -> dict[str, Any]:
        """Return what --stats holds: the strength at the end, how often it changed, and whether it had an effect."""
        spec = self._stats.spec
        effective = spec is not None and spec.takes_strength
        return {"value": self._strength.value, "changes": self._changes, "effective": effective}


def why_ineffective(spec: Spec) -> str:
    """Return why the engine that `spec` describes does not obey a strength."""
    if spec.is_bicubic:
        return "bicubic interpolation adds no detail"
    return f"{spec.model} has no input for it"
