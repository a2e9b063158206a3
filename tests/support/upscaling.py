"""One picture through an engine."""

from __future__ import annotations

import engines
from engines.base import Image
from engines.request import EngineRequest


def upscaled(frame: Image, model: str = "fast", *, depth: int = 1) -> Image:
    with engines.load(EngineRequest("openvino", model, (frame.shape[1], frame.shape[0]), depth=depth)) as engine:
        engine.reserve()
        engine.submit(frame, None)
        done = engine.collect(60)
        assert done is not None
        image: Image = done[0].copy()
    return image
