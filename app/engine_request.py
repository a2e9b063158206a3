"""What engine a configuration asks for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
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
from engines.catalog.ladder import BICUBIC_RUNG
from engines.exact_size import fitted_size, next_scale, scaled_size
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
        scale=engine.network_scale,
        output=exact_output(config, size),
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
    if request.output is not None and request.scale is None and not request.kind.is_remote:
        scales = available_scales([engine.model, *(request.ladder or ())])
        request = replace(request, scale=next_scale(scales, size, request.output) if scales else None)
    if engine.model != "auto":
        return request
    # A server's model has a name of its own; the one chosen here is what its fallback reads.
    scale = engines.resolve(request).scale if request.kind.is_remote else request.scale
    return replace(request, model=catalog.usual(camera=camera, scale=scale))


def exact_output(config: Config, size: tuple[int, int]) -> tuple[int, int] | None:
    """Return the (width, height) that pictures of `size` are to come out in, None if the network decides it."""
    if not all(size):  # not known yet
        return None
    if config.output.size is not None:
        assert not isinstance(config.output.size, str)  # with_screen_size() has been here
        return fitted_size(size, config.output.size)
    factor = config.engine.scale
    return scaled_size(size, factor) if factor is not None and config.engine.network_scale is None else None


def available_scales(models: Sequence[str]) -> set[int]:
    """Return the scales in which all these shipped models exist; empty if one is a file, whose scale is its own."""
    scales = {model.scale for model in catalog.shipped()}
    for name in models:
        if catalog.is_path(name):
            return set()
        if name not in ("auto", BICUBIC_RUNG):
            scales &= {model.scale for model in catalog.shipped() if name in model.names}
    return scales


def expected_output(config: Config, source: Source) -> Callable[[tuple[int, int]], tuple[int, int]]:
    """Return a function from an input's (width, height) to the output's, as far as the configuration says.

    Raises EngineError.
    """
    scale = engines.resolve(engine_request(config, camera=source.camera, size=(0, 0))).scale or catalog.DEFAULT_SCALE

    def output(size: tuple[int, int]) -> tuple[int, int]:
        return exact_output(config, size) or (scale * size[0], scale * size[1])

    return output


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
    engine_request(config, camera=source.camera, size=(0, 0))  # reports a wrong address before the first picture
    logged: set[str] = set()

    def load(size: tuple[int, int]) -> Engine[Any]:
        request = engine_request(config, camera=source.camera, size=size)
        if config.engine.model == "auto" and config.engine.reads_model and request.model not in logged:
            log.info("the model for %s is %s", source.name, request.model)
            logged.add(request.model)
        wanted = replace(request, exclude=tuple(sorted(preview.failed)))
        if stats.spec is not None:
            # Of the scale before, unless the size of the output decides which scale is the best.
            scale = request.scale or (stats.spec.scale if request.output is None else None)
            wanted = replace(wanted, scale=scale, start="standby")
        return engines.load(wanted, progress=preview.progress, policy=governor, strength=strength)

    return load
