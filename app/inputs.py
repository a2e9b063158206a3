"""What the configuration names: its source, which may come and go, and its engine, which may run alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import engines
from app.config import Config, Engine
from app.sources import Source, open_source
from engines.slots import Slots


def opened_input(config: Config) -> Source:
    """The source. Raises SourceError."""
    asked, kiosk = config.input, config.kiosk
    options = asked.model_dump(include={"camera", "source", "size", "fps"})
    if kiosk.lasting:
        from app.sources.ways import comes_and_goes, open_lasting

        if comes_and_goes(asked.camera, asked.source):
            return open_lasting(**options, **kiosk.model_dump(include={"attract", "attract_after", "frozen_after"}))
    return open_source(**options, loop=asked.loop)


def engine_for(asked: Engine) -> Callable[[tuple[int, int]], Slots[Any]]:
    """A function that makes the engine for an input size; it raises EngineError."""
    options = asked.model_dump(include={"depth", "threads"})
    if not asked.isolate:
        return lambda size: engines.load(asked.name, asked.model, size, **options)

    def guarded(size: tuple[int, int]) -> Slots[Any]:
        from engines import isolated

        return isolated.guarded((asked.name, *asked.next), asked.model, size, deadline=asked.deadline, **options)

    return guarded
