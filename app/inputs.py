"""What the configuration names: its source, which may come and go, and its engine, which may run alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import engines
from app.config import Config
from app.loading import Loading
from app.sources import Source, open_source
from app.stats import Stats
from app.steering import Steering
from engines.connection import Options
from engines.progress import Progress
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


def engine_for(
    config: Config, stats: Stats, loading: Loading, steering: Steering
) -> Callable[[tuple[int, int]], Slots[Any]]:
    """A function that makes the engine for an input size; it raises EngineError.

    `stats` tell what there was before, `loading` which engines have failed and who wants to know how far it has come;
    `steering` decides between models where a governor is asked for.
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

    # A server is a process of its own already, and decides about its models itself.
    remote = asked.name.startswith("triton")
    plain = guarded if asked.isolate and not remote else loaded
    return partial(governed, config, loading, steering, plain) if config.governor.enabled and not remote else plain


def governed(
    config: Config,
    loading: Loading,
    steering: Steering,
    plain: Callable[[tuple[int, int]], Slots[Any]],
    size: tuple[int, int],
) -> Slots[Any]:
    """An engine over the models of a family; what `plain` makes, where there is one model. Raises EngineError."""
    from engines import gearbox, isolated
    from engines.choice import Choice
    from engines.family import BICUBIC, family, scale_of

    asked = config.engine
    members, at = family(asked.model, config.governor.models)
    names = [name for one in (asked.name, *asked.fallback) for name in engines.candidates(one) if name != BICUBIC]
    if len(members) < 2 or not names:
        return plain(size)
    own = asked.model_dump(include={"depth", "threads", "memory", "dla", "profile"})
    made: list[gearbox.Gearbox[Any]] = []  # a load may begin before there is one
    later = Progress()

    def tell(text: str) -> None:
        for one in made:
            one.say(text)

    def choices(model: str) -> list[Choice]:
        if model == BICUBIC:
            return []
        if asked.isolate:
            return isolated.choices(names, model, size, deadline=asked.patience / 1000, tell=tell, **own)
        progress = loading.progress if model == members[at].name else later
        load = partial(engines.load, model=model, size=size, progress=progress, **own)
        return [Choice(name, partial(load, name), engines.LOCAL) for name in dict.fromkeys(names)]

    steering.begin(members, at)
    box: gearbox.Gearbox[Any] = gearbox.Gearbox(
        [gearbox.Gear(member.name, choices(member.name)) for member in members],
        size,
        steering,
        gear=at,
        # In this process the first engine is waited for: what is wrong with it ends the program.
        scale=scale_of(asked.model) if asked.isolate else None,
        depth=asked.depth,
        retry=isolated.RETRY,
        cancel=later.cancel,
    )
    made.append(box)
    if asked.isolate:
        box.farewell = isolated.SHORT
    return box
