"""What the configuration names: its source, which may come and go, and its engine and model, which may depend on it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import engines
from app.config.schema import Config
from app.governor.driver import GovernorDriver
from app.pipeline.build_preview import BuildPreview
from app.pipeline.protocols import Source
from app.pipeline.stats import Stats
from app.sources import open_source
from app.sources.reconnecting.hotplug import KnownCameras
from app.uri import comes_and_goes
from engines.catalog import shipped as catalog
from engines.slot_engine import SlotEngine
from engines.support.progress import BuildProgress
from engines.triton.address import parse
from engines.triton.client import TritonOptions

log = logging.getLogger(__name__)


def opened_input(config: Config, known_cameras: KnownCameras | None = None) -> Source:
    """Open the source; `known_cameras` is what earlier sessions have noted of cameras. Raises SourceError."""
    asked, kiosk = config.input, config.kiosk
    options = asked.model_dump(include={"camera", "source", "size", "fps"})
    if kiosk.reconnect and comes_and_goes(asked.camera, asked.source):
        from app.sources.reconnecting.factory import open_reconnecting

        times = kiosk.model_dump(include={"attract", "attract_after", "frozen_after"})
        return open_reconnecting(**options, **times, known_cameras=known_cameras)
    return open_source(**options, loop=asked.loop)


def scale_for(config: Config) -> int | None:
    """How many times larger, as far as the configuration tells. Raises EngineError for a server's bad address."""
    asked = config.engine
    served = parse(asked.name).scale if asked.name.startswith("triton") else None
    return asked.scale or served or catalog.scale_in(asked.model)


def model_for(config: Config, source: Source) -> str:
    """The model asked for, or what `auto` stands for with this source. It stays what it is when a camera is away.

    Raises EngineError for a server's bad address.
    """
    asked = config.engine
    if asked.model != "auto":
        return asked.model
    model = catalog.usual(camera=source.camera, scale=scale_for(config))
    if asked.reads_model:
        log.info("the model for %s is %s", source.name, model)
    return model


def engine_for(
    config: Config, source: Source, stats: Stats, loading: BuildPreview, steering: GovernorDriver
) -> Callable[[tuple[int, int]], SlotEngine[Any]]:
    """A function that makes the engine for an input size; it raises EngineError.

    `source` decides the model where nobody has, `stats` tell what there was before, `loading` which engines have failed
    and who wants to know how far it has come; `steering` goes from model to model where a governor is asked for. Raises
    EngineError for a server's bad address.
    """
    asked, model = config.engine, model_for(config, source)
    patience = asked.frame_timeout / 1000
    own = asked.model_dump(include={"depth", "threads", "memory", "dla", "profile"})

    def guarded(size: tuple[int, int]) -> SlotEngine[Any]:
        from engines.isolation import engine as isolation

        names = asked.name, *asked.fallback
        return isolation.guarded(names, model, size, deadline=patience, scale=asked.scale, **own)

    def loaded(size: tuple[int, int]) -> SlotEngine[Any]:
        return engines.load(
            asked.name,
            model,
            size,
            **own,
            scale=asked.scale or (stats.spec.scale if stats.spec else None),
            without=loading.failed,
            progress=loading.progress,
            options=TritonOptions(**dict(config.triton)),
            fallback=asked.fallback,
            patience=patience,
            # A server that has been there before is waited for.
            strict=asked.start == "strict" and stats.spec is None,
        )

    def governed(size: tuple[int, int]) -> SlotEngine[Any]:
        """What `plain` makes, where there is one model to choose from."""
        return geared(config, model, size, loading, steering) or plain(size)

    # A server is a process of its own already, and its models are not ours to choose.
    remote = asked.name.startswith("triton")
    plain = guarded if asked.isolate and not remote else loaded
    return governed if config.governor.enabled and not remote else plain


def geared(
    config: Config, model: str, size: tuple[int, int], loading: BuildPreview, steering: GovernorDriver
) -> SlotEngine[Any] | None:
    """An engine that begins with `model` and goes on with others of its kind as `steering` decides; None if there are
    none. Raises EngineError."""
    from engines.catalog.ladder import BICUBIC, ladder
    from engines.failover import model_switcher
    from engines.failover.candidates import Candidate
    from engines.isolation import engine as isolation

    asked = config.engine
    rungs, at, scale = ladder(model, config.governor.models, asked.scale)
    names = [name for one in (asked.name, *asked.fallback) for name in engines.candidates(one) if name != BICUBIC]
    if len(rungs) < 2 or not names:
        return None
    own = asked.model_dump(include={"depth", "threads", "memory", "dla", "profile"}) | {"scale": scale}
    made: list[model_switcher.ModelSwitcher[Any]] = []  # a load may begin before there is one
    later = BuildProgress()

    def tell(text: str) -> None:
        for one in made:
            one.say(text)

    def choices(rung: str) -> list[Candidate]:
        if rung == BICUBIC:
            return []
        if asked.isolate:
            return isolation.choices(names, rung, size, deadline=asked.frame_timeout / 1000, tell=tell, **own)
        progress = loading.progress if rung == rungs[at].model else later
        load = partial(engines.load, model=rung, size=size, progress=progress, **own)
        return [Candidate(name, partial(load, name), engines.LOCAL) for name in dict.fromkeys(names)]

    steering.begin(rungs, at)
    box: model_switcher.ModelSwitcher[Any] = model_switcher.ModelSwitcher(
        [model_switcher.SwitchRung(rung.model, choices(rung.model)) for rung in rungs],
        size,
        steering,
        gear=at,
        # In this process the first engine is waited for: what is wrong with it ends the program.
        scale=scale if asked.isolate else None,
        depth=asked.depth,
        retry=isolation.RETRY,
        cancel=later.cancel,
    )
    made.append(box)
    if asked.isolate:
        box.farewell = isolation.SHORT
    return box
