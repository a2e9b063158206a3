"""One picture through an engine."""

from __future__ import annotations

from typing import Any

import engines
from engines.base import Engine, Image
from engines.request import EngineRequest


def through(engine: Engine[Any], frame: Image) -> Image:
    engine.reserve()
    engine.submit(frame, None)
    done = engine.collect(60)
    assert done is not None
    image: Image = done[0].copy()
    return image


def upscaled(frame: Image, model: str = "fast", *, depth: int = 1) -> Image:
    with engines.load(EngineRequest("openvino", model, (frame.shape[1], frame.shape[0]), depth=depth)) as engine:
        return through(engine, frame)
