"""What happens to pixels. Knows nothing of cameras, windows or files.

load() picks an engine and imports only that one's packages.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from engines.base import MAX_INPUT_SIZE, MIN_INPUT_SIZE, fits
from engines.catalog import shipped as catalog
from engines.errors import EngineError, ModelError, one_line
from engines.slot_engine import SlotEngine
from engines.support.progress import BuildProgress

if TYPE_CHECKING:
    from engines.triton.client import TritonOptions

log = logging.getLogger(__name__)

# At its import OpenVINO sends a message to Google Analytics, from a process that it forks, unless this package cannot
# be imported, which None does. A camera in a public place tells nobody that it is there.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # as the documentation of sys.modules has it

LOCAL = 2.0
"""Seconds of patience with an engine of this machine that stands in for a server."""

NAMES = ("tensorrt", "openvino", "triton", "bicubic")
"""All engines, in the order in which `auto` tries them, without triton: that needs an address."""


def unavailable(name: str) -> str | None:
    """Why engine `name` cannot be used here; None if it can. Imports nothing heavy."""
    match name:
        case "tensorrt":
            from engines.tensorrt import sdk

            return sdk.unavailable()
        case "triton":
            there = importlib.util.find_spec("tritonclient") and importlib.util.find_spec("grpc")
            return None if there else "tritonclient is not installed (pip install -e '.[triton]')"
        case "openvino":
            return None if importlib.util.find_spec("openvino") else "the package openvino is not installed"
        case "bicubic":
            return None
        case _:
            return "there is no such engine"


def candidates(name: str, without: Collection[str] = ()) -> list[str]:
    """The engines that `name` stands for, best first: for `auto` all of this machine's that are available and not in
    `without`.

    Raises EngineError if an engine asked for by its name is not available.
    """
    if name == "auto":
        return [n for n in NAMES if n != "triton" and n not in without and not unavailable(n)]
    kind = name.partition("://")[0]
    if why := unavailable(kind):
        usable = ", ".join(n for n in NAMES if not unavailable(n))
        raise EngineError(f"The engine {kind} cannot be used", why, f"Engines that work here: auto, {usable}.")
    return [] if kind in without else [kind]


def load(
    name: str,
    model: str,
    size: tuple[int, int],
    *,
    depth: int = 2,
    threads: int | None = None,
    memory: str = "auto",
    dla: int | None = None,
    profile: bool = False,
    scale: int | None = None,
    without: Collection[str] = (),
    progress: BuildProgress | None = None,
    options: TritonOptions | None = None,
    fallback: Sequence[str] = (),
    patience: float = 0.25,
    strict: bool = True,
) -> SlotEngine[Any]:
    """An engine ready for inputs of `size` (width, height); the caller closes it, best by `with`.

    `name` is one of NAMES, triton as triton://HOST:PORT/MODEL, or auto: the first that can be had, leaving out those in
    `without`. `model` is a name or a path (engines.catalog.shipped.find); `depth`: frames in flight; `threads` of the
    CPU, None for all; `memory`, `dla` and `profile` are for TensorRT (app.config.schema says what they mean); `scale`:
    how many times larger, None for what the model's name tells, else its smallest; `progress` is told of a load that
    takes long, and can end it. `options` are for triton://HOST:PORT/MODEL, and so is the rest: with a `fallback` the
    picture goes on when the server does not answer within `patience` seconds, by the engines named there and bicubic;
    unless `strict`, also when there is no server at the start. Raises EngineError, ModelError.
    """
    if not fits(size):
        raise ModelError(
            f"A picture of {size[0]}x{size[1]} cannot be upscaled",
            f"sizes from {MIN_INPUT_SIZE[0]}x{MIN_INPUT_SIZE[1]} to {MAX_INPUT_SIZE[0]}x{MAX_INPUT_SIZE[1]} can",
            "Ask the camera for another size with --size, or scale the file first.",
        )

    def made(kind: str) -> SlotEngine[Any]:
        match kind:
            case "tensorrt":
                from engines.tensorrt import engine as tensorrt_engine

                own: dict[str, Any] = {"memory": memory, "dla": dla, "profile": profile, "progress": progress}
                return tensorrt_engine.load(model, size, depth=depth, scale=scale, **own)
            case "openvino":
                from engines.openvino import engine as openvino_engine

                return openvino_engine.load(model, size, depth=depth, threads=threads, scale=scale)
            case "bicubic":
                from engines import bicubic

                return bicubic.load(size, scale=scale or catalog.scale_in(model) or catalog.DEFAULT_SCALE, depth=depth)
            case _:
                here: dict[str, Any] = {"depth": depth, "threads": threads, "memory": memory, "dla": dla}
                local = partial(load, model=model, size=size, profile=profile, **here)
                asked: dict[str, Any] = {"options": options, "patience": patience, "strict": strict}
                return served(name, size, fallback, local, depth=depth, scale=scale, **asked)

    names = candidates(name, without)
    for kind in names:
        try:
            return of_scale(made(kind), scale)
        except ModelError:
            raise
        except EngineError as error:
            if kind == names[-1] or (progress is not None and progress.cancelled):
                raise
            log.warning("the engine %s fails, trying the next: %s", kind, one_line(error))
    raise EngineError("No engine is left", f"failed or not available: {', '.join(NAMES)}", "--list says why.")


def served(
    address: str,
    size: tuple[int, int],
    fallback: Sequence[str],
    local: Callable[..., SlotEngine[Any]],
    *,
    depth: int,
    scale: int | None,
    options: TritonOptions | None,
    patience: float,
    strict: bool,
) -> SlotEngine[Any]:
    """The engine behind triton://HOST:PORT/MODEL, and with a `fallback` what goes on without it, each of which `local`
    loads by its name. The rest as for load()."""
    from engines.failover import engine as failover
    from engines.failover.candidates import Candidate
    from engines.triton import engine as triton_engine
    from engines.triton.address import parse
    from engines.triton.client import TritonOptions

    parsed, options = parse(address), options or TritonOptions()
    larger = scale or parsed.scale
    if parsed.scale and larger != parsed.scale:
        raise catalog.wrong_scale(parsed.model, [parsed.scale], scale)
    if not fallback:
        return triton_engine.load(address, size, depth=depth, options=options, patience=None)
    server = partial(triton_engine.load, address, size, depth=depth, options=options, patience=patience)
    # An engine of this machine may be slow, and is not less wanted for it; one that hangs is given up all the same.
    others = [
        Candidate(name, partial(local, name, scale=larger), LOCAL)
        for name in fallback
        if name != "bicubic"  # it is what FailoverEngine itself goes on with
    ]
    known = None if strict else larger
    return failover.FailoverEngine([Candidate(str(parsed), server, patience), *others], size, scale=known, depth=depth)


def of_scale(engine: SlotEngine[Any], scale: int | None) -> SlotEngine[Any]:
    """`engine`, unless another scale is wanted than it has, as a file's name need not tell: then ModelError."""
    if scale in (None, engine.spec.scale):
        return engine
    engine.free()
    raise catalog.wrong_scale(engine.spec.model, [engine.spec.scale], scale)
