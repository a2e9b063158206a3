"""How long each stage of a TensorRT engine takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from engines.base import Engine, Image
from engines.cuda import slot


def medians(taken: list[dict[str, float]]) -> dict[str, float]:
    """The median of each stage."""
    return {name: float(np.median([stages[name] for stages in taken])) for name in taken[-1]}


def stage_medians(engine: Engine[Any], frame: Image) -> dict[str, float]:
    """Median seconds of each stage while no other frame is in flight.

    `engine` has a depth of 2: the picture of the last collect() is borrowed until the next one.
    """
    taken: list[dict[str, float]] = []
    for _ in range(20 * slot.SAMPLE_EVERY):
        engine.reserve()
        engine.submit(frame, None)
        engine.collect(60)
        taken.append(dict(engine.stages))
    return medians(taken)
