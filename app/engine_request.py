"""What engine a configuration asks for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import engines
from app.config.schema import Config
from app.governor.driver import GovernorDriver
from app.pipeline.build_preview import BuildPreview
from app.pipeline.protocols import Source
from app.pipeline.stats import Stats
from engines.base import Engine, Strength
from engines.catalog import shipped as catalog
from engines.request import EngineRequest, OpenVinoOptions, TensorRtOptions, TritonOptions

log = logging.getLogger(__name__)


def engine_request(config: Config, *, camera: bool, size: tuple[int, int]) -> EngineRequest:
    """Return what the configuration asks for, for pictures of `size` (width, height).

    `camera`: whether a camera takes them, which decides the model if nobody has named one. It stays what it is when a
    camera is away.

    Raises:
        EngineError: A server's address is wrong.
    """
    engine = config.engine
    request = EngineRequest(
        name=engine.name,
        model=engine.model,
        size=size,
        scale=engine.scale,
        depth=engine.depth,
        frame_timeout=engine.frame_timeout / 1000,
        fallback=engine.fallback,
        start=engine.start,
        isolate=engine.isolate,
        ladder=config.governor.models if config.governor.enabled else None,
        tensorrt=TensorRtOptions(memory=engine.memory, dla=engine.dla, profile=engine.profile),
        openvino=OpenVinoOptions(threads=engine.threads),
        triton=TritonOptions(**dict(config.triton)),
    )
    if engine.model != "auto":
        return request
    # A server's model has a name of its own; the one chosen here is what its fallback reads.
    scale = engines.resolve(request).scale if request.kind.is_remote else engine.scale
    return replace(request, model=catalog.usual(camera=camera, scale=scale))


def expected_scale(config: Config, source: Source) -> int | None:
    """Return how many times larger the picture will be, as far as the configuration says. Raises EngineError."""
    return engines.resolve(engine_request(config, camera=source.camera, size=(0, 0))).scale


def engine_loader(
    config: Config,
    source: Source,
    stats: Stats,
    preview: BuildPreview,
    governor: GovernorDriver,
    strength: Strength | None = None,
) -> Callable[[tuple[int, int]], Engine[Any]]:
    """Return a function that makes the engine for an input size (width, height); it raises EngineError.

    Args:
        config: What is asked for.
        source: Decides the model where nobody has named one.
        stats: What there was before: an engine of the same scale, and a server that has been there is waited for.
        preview: Which engines have failed, and who wants to know how far a load has come.
        governor: Goes from model to model where that is asked for.
        strength: How much detail is added, whichever engine and model it is.

    Raises:
        EngineError: A server's address is wrong.
    """
    request = engine_request(config, camera=source.camera, size=(0, 0))
    if config.engine.model == "auto" and config.engine.reads_model:
        log.info("the model for %s is %s", source.name, request.model)

    def load(size: tuple[int, int]) -> Engine[Any]:
        wanted = replace(request, size=size, exclude=tuple(sorted(preview.failed)))
        if stats.spec is not None:
            wanted = replace(wanted, scale=request.scale or stats.spec.scale, start="standby")
        return engines.load(wanted, progress=preview.progress, policy=governor, strength=strength)

    return load
