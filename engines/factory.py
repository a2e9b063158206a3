"""Makes the engine that a request describes: its backend, its own process, its fallbacks, its models.

This is the only file that knows concrete engines. What it imports beyond the common parts is imported where it is used,
so that a machine without TensorRT, OpenVINO or Triton's client can load the others.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from engines.base import MAX_INPUT_SIZE, MIN_INPUT_SIZE, Engine, Strength, fits
from engines.catalog.resolved import ResolvedModel, resolve_bicubic, resolve_file, resolve_served
from engines.catalog.shipped import terms_of, wrong_scale
from engines.catalog.terms import RESEARCH_ONLY
from engines.errors import EngineError, ModelError, one_line
from engines.request import ENGINE_NAMES, EngineKind, EngineRequest
from engines.support.event_log import log_event
from engines.support.progress import BuildProgress

if TYPE_CHECKING:
    from engines.failover.candidates import Candidate, LoadStatus
    from engines.failover.model_switcher import SwitchPolicy

log = logging.getLogger(__name__)

LOCAL_FRAME_TIMEOUT_S = 2.0
"""Frame timeout of an engine of this process that stands behind another: it may be slow and is wanted all the same."""
ISOLATED_MAX_RETRY_S = 5.0
"""Longest pause between two attempts to start an engine in a process of its own."""
ISOLATED_SHUTDOWN_TIMEOUT_S = 0.1
"""How long the end waits for a child that is loading or hangs: its own thread ends it, or the end of this process."""


def unavailable(name: str) -> str | None:
    """Return why engine `name` cannot be used here, None if it can. Imports nothing heavy."""
    match name:
        case EngineKind.TENSORRT:
            from engines.tensorrt import sdk

            return sdk.unavailable()
        case EngineKind.TRITON:
            installed = importlib.util.find_spec("tritonclient") and importlib.util.find_spec("grpc")
            return None if installed else "tritonclient is not installed (pip install -e '.[triton]')"
        case EngineKind.OPENVINO:
            return None if importlib.util.find_spec("openvino") else "the package openvino is not installed"
        case EngineKind.BICUBIC:
            return None
        case _:
            return "there is no such engine"


def candidates(name: str, exclude: Collection[str] = ()) -> list[str]:
    """Return the engines that `name` stands for, best first, without those in `exclude`.

    For `auto` these are all that can be used on this machine.

    Raises:
        EngineError: An engine given by its name cannot be used here.
    """
    if name == EngineKind.AUTO:
        local = (n for n in ENGINE_NAMES if not EngineKind(n).is_remote and n not in exclude)
        return [n for n in local if not unavailable(n)]
    kind = name.partition("://")[0]
    if why := unavailable(kind):
        usable = ", ".join(n for n in ENGINE_NAMES if not unavailable(n))
        raise EngineError(f"The engine {kind} cannot be used", why, f"Engines that work here: auto, {usable}.")
    return [] if kind in exclude else [kind]


def resolve(request: EngineRequest) -> ResolvedModel:
    """Return what the request's model resolves to, as far as can be known without loading it.

    Of a model that exists in several precisions the engine takes the one it runs best, which may be another than here.

    Raises:
        EngineError: There is no such model, none of that scale, or no such address.
    """
    match request.kind:
        case EngineKind.TRITON:
            from engines.triton.address import parse

            return resolve_served(parse(request.name).model, request.scale)
        case EngineKind.BICUBIC:
            return resolve_bicubic(request.model, request.scale)
        case _:
            return resolve_file(request.model, request.scale)


def load(
    request: EngineRequest,
    *,
    progress: BuildProgress | None = None,
    policy: SwitchPolicy | None = None,
    strength: Strength | None = None,
) -> Engine[Any]:
    """Return the engine that `request` describes, ready for frames; the caller closes it, best by `with`.

    Args:
        request: What is wanted.
        progress: Receives the progress of a load that takes long, and can end it.
        policy: Decides which model of `request.ladder` makes the picture; without one there is no switching.
        strength: How much detail is added, which may be changed at any time, for this engine and all that stand in for
            it; None: as trained.

    Raises:
        ModelError: The model, the size or the scale is at fault: no other engine would do better.
        EngineError: The engine cannot be had.
    """
    strength = strength or Strength()
    kinds = candidates(request.name, request.exclude)
    if request.kind.is_remote and kinds:
        # A server is a process of its own already, and its models are not ours to choose.
        return _served(request, strength)
    if policy is not None and request.ladder is not None:
        switcher = _switching(request, progress, policy, strength)
        if switcher is not None:
            return switcher
    if request.isolate:
        return _isolated(request, strength)
    return _local(request, kinds, progress, strength)


def _local(
    request: EngineRequest, kinds: Sequence[str], progress: BuildProgress | None, strength: Strength
) -> Engine[Any]:
    """The first of `kinds` that works, in this process."""
    _check_size(request.size)
    for kind in kinds:
        try:
            engine = _of_scale(_backend(replace(request, name=kind), progress, strength), request.scale)
            engine = _sized(engine, request.output)
            if kind != EngineKind.BICUBIC:
                _tell_terms(request)
            return engine
        except ModelError:
            raise
        except EngineError as error:
            if kind == kinds[-1] or (progress is not None and progress.cancelled):
                raise
            message = "the engine %(engine)s fails, trying the next: %(reason)s"
            log_event(log, logging.WARNING, "engine_load_failed", message, engine=kind, reason=one_line(error))
    raise EngineError("No engine is left", f"failed or not available: {', '.join(ENGINE_NAMES)}", "--list says why.")


def _sized(engine: Engine[Any], output: tuple[int, int] | None) -> Engine[Any]:
    """Return `engine`, or what takes its place with pictures of the size `output` if that is asked for."""
    if output in (None, engine.spec.output):
        return engine
    from engines.exact_size import resized

    return resized(engine, output)


def _tell_terms(request: EngineRequest) -> None:
    """Log it if the model that was loaded is for research use only."""
    resolved = resolve_file(request.model, request.scale)
    if resolved.path is not None and terms_of(resolved.path) == RESEARCH_ONLY:
        message = "%(model)s is for %(terms)s: NOTICE says why"
        log_event(log, logging.INFO, "model_terms", message, model=resolved.family, terms=RESEARCH_ONLY)


def _backend(request: EngineRequest, progress: BuildProgress | None, strength: Strength) -> Engine[Any]:
    """The engine of one kind."""
    match request.kind:
        case EngineKind.TENSORRT:
            from engines.tensorrt import engine as tensorrt_engine

            return tensorrt_engine.load(request, progress=progress, strength=strength)
        case EngineKind.OPENVINO:
            from engines.openvino import engine as openvino_engine

            return openvino_engine.load(request, strength=strength)
        case _:
            return _bicubic(request)


def _bicubic(request: EngineRequest) -> Engine[Any]:
    from engines import bicubic

    scale = resolve_bicubic(request.model, request.scale).scale
    assert scale is not None  # bicubic always has one
    return bicubic.load(request.size, scale=scale, depth=request.depth, output=request.output)


def _served(request: EngineRequest, strength: Strength) -> Engine[Any]:
    """The engine behind triton://HOST:PORT/MODEL, and with a fallback what goes on without it."""
    from engines.failover.candidates import Candidate
    from engines.failover.engine import FailoverEngine
    from engines.triton import engine as triton_engine
    from engines.triton.address import parse

    _check_size(request.size)
    address, scale = parse(request.name), resolve(request).scale

    def serve(timeout: float | None) -> Engine[Any]:
        engine = triton_engine.load(address, request, frame_timeout=timeout, strength=strength)
        return _sized(engine, request.output)

    if not request.fallback:
        return serve(None)
    timeout = request.frame_timeout
    server = Candidate(str(address), partial(serve, timeout), timeout)
    alone = replace(request, scale=scale, fallback=(), exclude=())
    # An engine of this machine may be slow, and is not less wanted for it; one that hangs is given up all the same.
    others = [
        Candidate(name, partial(load, replace(alone, name=name), strength=strength), LOCAL_FRAME_TIMEOUT_S)
        for name in request.fallback
        if name != EngineKind.BICUBIC  # it is what FailoverEngine itself goes on with
    ]
    known = None if request.start == "strict" else scale
    return FailoverEngine([server, *others], request.size, scale=known, output=request.output, depth=request.depth)


def _networks(request: EngineRequest) -> list[str]:
    """The engines of this machine that a request and its fallback name, best first, without bicubic."""
    names = [name for wanted in (request.name, *request.fallback) for name in candidates(wanted)]
    return [name for name in dict.fromkeys(names) if name != EngineKind.BICUBIC]


def _isolated_candidates(
    request: EngineRequest, names: Sequence[str], status: LoadStatus, strength: Strength
) -> list[Candidate]:
    """The engines `names`, each in a process of its own."""
    from engines.failover.candidates import Candidate
    from engines.isolation import engine as isolation

    def candidate(name: str) -> Candidate:
        def report(text: str) -> None:
            status.text = f"{name}: {text}"

        alone = replace(request, name=name, fallback=(), exclude=(), isolate=False, ladder=None)
        start = partial(isolation.load, alone, report=report, strength=strength)
        return Candidate(name, start, request.frame_timeout)

    return [candidate(name) for name in names]


def _isolated(request: EngineRequest, strength: Strength) -> Engine[Any]:
    """The first engine that works, each in a process of its own, with bicubic in its place meanwhile.

    The picture begins at once if the model's name states its scale; else when the first engine is there.
    """
    from engines.failover.candidates import LoadStatus, Retry
    from engines.failover.engine import FailoverEngine

    names = _networks(request)
    if not names:
        return _bicubic(request)
    model, status = resolve_file(request.model, request.scale), LoadStatus()
    return FailoverEngine(
        _isolated_candidates(request, names, status, strength),
        request.size,
        scale=model.scale if model.certain else None,
        output=request.output,
        depth=request.depth,
        retry=Retry(longest=ISOLATED_MAX_RETRY_S),
        status=status,
        shutdown_timeout=ISOLATED_SHUTDOWN_TIMEOUT_S,
    )


def _switching(
    request: EngineRequest, progress: BuildProgress | None, policy: SwitchPolicy, strength: Strength
) -> Engine[Any] | None:
    """An engine that begins with the request's model and goes on with others as `policy` decides.

    None if there is nothing to switch between.
    """
    from engines.catalog.ladder import BICUBIC_RUNG, ladder
    from engines.failover.candidates import Candidate, LoadStatus, Retry
    from engines.failover.engine import SHUTDOWN_TIMEOUT_S
    from engines.failover.model_loader import SwitchRung
    from engines.failover.model_switcher import ModelSwitcher

    rungs, first, scale = ladder(request.model, request.ladder or (), request.scale)
    names = _networks(request)
    if len(rungs) < 2 or not names:
        return None
    later, status = BuildProgress(), LoadStatus()

    def engines_of(rung: str) -> list[Candidate]:
        if rung == BICUBIC_RUNG:
            return []
        rung_request = replace(request, model=rung, scale=scale, ladder=None, fallback=(), exclude=())
        if request.isolate:
            return _isolated_candidates(rung_request, names, status, strength)
        reported = progress if rung == rungs[first].model else later
        starts = {name: replace(rung_request, name=name) for name in names}
        loads = {name: partial(load, start, progress=reported, strength=strength) for name, start in starts.items()}
        return [Candidate(name, start, LOCAL_FRAME_TIMEOUT_S) for name, start in loads.items()]

    policy.begin(rungs, first)
    return ModelSwitcher(
        [SwitchRung(rung.model, engines_of(rung.model)) for rung in rungs],
        request.size,
        policy,
        first=first,
        # In this process the first engine is waited for: what is wrong with it ends the program.
        scale=scale if request.isolate else None,
        output=request.output,
        depth=request.depth,
        retry=Retry(longest=ISOLATED_MAX_RETRY_S),
        status=status,
        cancel=later.cancel,
        shutdown_timeout=ISOLATED_SHUTDOWN_TIMEOUT_S if request.isolate else SHUTDOWN_TIMEOUT_S,
    )


def _check_size(size: tuple[int, int]) -> None:
    """Raise ModelError for an input that no engine takes."""
    if not fits(size):
        low, high = MIN_INPUT_SIZE, MAX_INPUT_SIZE
        raise ModelError(
            f"A picture of {size[0]}x{size[1]} cannot be upscaled",
            f"sizes from {low[0]}x{low[1]} to {high[0]}x{high[1]} can",
            "Ask the camera for another size with --size, or scale the file first.",
        )


def _of_scale(engine: Engine[Any], scale: int | None) -> Engine[Any]:
    """Return `engine`, unless it turns out to have another scale than was asked for: then raise ModelError."""
    if scale in (None, engine.spec.scale):
        return engine
    engine.free()
    raise wrong_scale(engine.spec.model, [engine.spec.scale], scale)
