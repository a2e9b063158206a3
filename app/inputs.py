"""What the configuration names: its source, which may come and go, and its engine, which may run alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import engines
from app.config import Config
from app.loading import Loading
from app.sources import Source, open_source
from app.stats import Stats
from engines.connection import Options
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


def engine_for(config: Config, stats: Stats, loading: Loading) -> Callable[[tuple[int, int]], Slots[Any]]:
    """A function that makes the engine for an input size; it raises EngineError.

    `stats` tell what there was before, `loading` which engines have failed and who wants to know how far it has come.
    """
    asked = config.engine
    patience = asked.patience / 1000
    own = asked.model_dump(include={"depth", "threads", "memory", "dla", "profile"})

    def guarded(size: tuple[int, int]) -> Slots[Any]:
        from engines import isolated

        return isolated.guarded((asked.name, *asked.fallback), asked.model, size, deadline=patience, **own)

    def loaded(size: tuple[int, int]) -> Slots[Any]:
        return engines.load(
            asked.name,
            asked.model,
            size,
            **own,
            scale=stats.spec.scale if stats.spec else 2,
            without=loading.failed,
            progress=loading.progress,
            options=Options(**dict(config.triton)),
            fallback=asked.fallback,
            patience=patience,
            # A server that has been there before is waited for.
            strict=asked.start == "strict" and stats.spec is None,
        )

    # A server is a process of its own already.
    return guarded if asked.isolate and not asked.name.startswith("triton") else loaded
