"""What happens to pixels. Knows nothing of cameras, windows or files.

load() picks an engine and imports only that one's packages.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from engines.base import LARGEST, SMALLEST, EngineError
from engines.slots import Slots

if TYPE_CHECKING:
    from engines.connection import Options

LOCAL = 2.0
"""Seconds of patience with an engine of this machine that stands in for a server."""

NAMES = ("tensorrt", "openvino", "triton", "bicubic")


def unavailable(name: str) -> str | None:
    """Why engine `name` cannot be used here; None if it can. Imports nothing heavy."""
    match name:
        case "tensorrt":
            return "not part of this version yet"
        case "triton":
            there = importlib.util.find_spec("tritonclient") and importlib.util.find_spec("grpc")
            return None if there else "tritonclient is not installed (pip install -e '.[triton]')"
        case "openvino":
            return None if importlib.util.find_spec("openvino") else "the package openvino is not installed"
        case "bicubic":
            return None
        case _:
            return "there is no such engine"


def choose(name: str) -> str:
    """The engine that `name` stands for: `auto` is the first of this machine's own. Raises EngineError."""
    if name == "auto":
        return next(n for n in NAMES if n != "triton" and not unavailable(n))
    kind = name.partition("://")[0]
    if why := unavailable(kind):
        usable = ", ".join(n for n in NAMES if not unavailable(n))
        raise EngineError(f"The engine {kind} cannot be used", why, f"Engines that work here: auto, {usable}.")
    return kind


def load(
    name: str,
    model: str,
    size: tuple[int, int],
    *,
    depth: int = 2,
    threads: int | None = None,
    scale: int = 2,
    options: Options | None = None,
    fallback: Sequence[str] = (),
    patience: float = 0.25,
    strict: bool = True,
) -> Slots[Any]:
    """An engine ready for inputs of `size` (width, height); the caller closes it, best by `with`.

    `model` is a name or a path (engines.catalog.find); `threads` of the CPU, None for all; `scale` is for the
    bicubic engine, which has no model. `options` are for triton://HOST:PORT/MODEL, and so is the rest: with a
    `fallback` the picture goes on when the server does not answer within `patience` seconds, by the engines named
    there and bicubic; unless `strict`, also when there is no server at the start. Raises EngineError.
    """
    if not (SMALLEST[0] <= size[0] <= LARGEST[0] and SMALLEST[1] <= size[1] <= LARGEST[1]):
        raise EngineError(
            f"A picture of {size[0]}x{size[1]} cannot be upscaled",
            f"sizes from {SMALLEST[0]}x{SMALLEST[1]} to {LARGEST[0]}x{LARGEST[1]} can",
            "Ask the camera for another size with --size, or scale the file first.",
        )
    match choose(name):
        case "openvino":
            from engines import openvino

            return openvino.load(model, size, depth=depth, threads=threads)
        case "triton":
            from engines import connection, standby, triton

            address = connection.parse(name)
            own = options or connection.Options()
            if not fallback:
                return triton.load(name, size, depth=depth, options=own, patience=None)
            # A local engine may be slow, and is not less wanted for it; one that hangs is given up all the same.
            choices = [
                standby.Choice(
                    str(address),
                    lambda: triton.load(name, size, depth=depth, options=own, patience=patience),
                    patience,
                ),
                *(
                    standby.Choice(other, partial(load, other, model, size, depth=depth, threads=threads), LOCAL)
                    for other in fallback
                    if other != "bicubic"  # it is what Standby itself goes on with
                ),
            ]
            known = None if strict else address.scale
            return standby.Standby(choices, size, scale=known, depth=depth)
        case _:
            from engines import bicubic

            return bicubic.load(size, scale=scale, depth=depth)
