"""Compare a fleet of cameras through one Triton server with a bare engine and with a naive server."""

from __future__ import annotations

import contextlib
import importlib.util
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import engines
from engines.catalog import shipped as catalog
from engines.request import EngineRequest, Transport, TritonOptions
from scripts.benchmarks import timing
from scripts.benchmarks.fleet.fleet import Fleet, FleetError, FleetResult, drive, served
from scripts.common.checkout import ROOT
from scripts.common.figure import Figure
from scripts.serving import repository
from scripts.serving.server import TritonServer, free_ports


def weights_of(model: str) -> str:
    """Return the fp32 file of the shipped network of which `model` is the file in some precision.

    Both are without .onnx.
    """
    (shipped,) = repository.chosen_models([model])
    return catalog.find(f"{shipped.name}-x{shipped.scale}-fp32").stem


@contextlib.contextmanager
def naive(port: int, model: str) -> Iterator[str]:
    """Run the naive server with a shipped fp32 model, and yield its address once it is ready."""
    command = [
        sys.executable,
        str(ROOT / "scripts/benchmarks/fleet/naive_server.py"),
        "--port",
        str(port),
        "--model",
        model,
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise FleetError("The naive program has not started", "its own messages are above", "pip install torch")
            yield f"http://127.0.0.1:{port}/{model}"
        finally:
            process.kill()


@dataclass
class Comparison:
    """A fleet through Triton beside its rivals."""

    figures: list[Figure] = field(default_factory=list)
    fleets: dict[str, FleetResult] = field(default_factory=dict)


def engine_against_triton(
    server: TritonServer, model: str, size: tuple[int, int], rounds: int, seconds: float
) -> Comparison:
    """Measure one camera's engine: bare, and through Triton by shared memory and raw."""
    frame, result, address = timing.noise(size), Comparison(), f"triton://{server.address}/{model}"
    transports: dict[str, tuple[Transport, int]]
    transports = {
        "shared memory": ("shm", 2),
        "shared memory, three in flight": ("shm", 3),
        "raw over loopback": ("raw", 2),
    }
    with contextlib.ExitStack() as stack:
        loaded = [
            stack.enter_context(
                engines.load(EngineRequest("openvino", str(catalog.MODELS_FOLDER / f"{model}.onnx"), size))
            )
        ]
        for transport, depth in transports.values():
            engine = engines.load(
                EngineRequest(address, "fast", size, depth=depth, triton=TritonOptions(transport=transport))
            )
            loaded.append(stack.enter_context(engine))
        loops = [timing.EngineLoop(engine, frame) for engine in loaded]
        bare_alone, *alone = timing.alternate([partial(loop.alone, 25) for loop in loops], rounds)
        bare_full, *full = timing.alternate([partial(loop.seconds, seconds) for loop in loops], rounds)
    result.figures.append(Figure("bare engine, frames a second", 1000 / statistics.median(bare_full), "fps"))
    for (label, (transport, depth)), served_alone, served_full in zip(transports.items(), alone, full, strict=True):
        wanted = transport == "shm"
        ratio = statistics.median(bare / served_ms for bare, served_ms in zip(bare_full, served_full, strict=True))
        result.figures.append(Figure(f"Triton, {label}, against the bare engine", ratio, "x", 0.85 if wanted else None))
        if depth == 2:  # a frame that is alone is as late with any other number
            added = statistics.median(
                served_ms - bare for bare, served_ms in zip(bare_alone, served_alone, strict=True)
            )
            goal = 4.0 if wanted else None
            result.figures.append(Figure(f"Triton, {label}, latency added", added, "ms", goal, at_least=False))
    return result


def compare(cameras: int, model: str, size: tuple[int, int], seconds: float, rounds: int = 3) -> Comparison:
    """Measure everything that --fleet prints, with a shipped model. Raises UserError."""
    with served(size, model) as server:
        result = engine_against_triton(server, model, size, 2 * rounds, seconds / 5)
        plan = Fleet(cameras, f"triton://{server.address}/{model}", size, seconds=seconds)
        ratios, comparable = [], bool(importlib.util.find_spec("torch"))
        for _ in range(rounds):
            result.fleets["Triton, shared memory"] = fast = drive(plan)
            if comparable:
                with naive(free_ports(1)[0], weights_of(model)) as address:
                    result.fleets["naive PyTorch over HTTP"] = slow = drive(replace(plan, engine=address))
                ratios.append(fast.total("fps") / slow.total("fps"))
        result.fleets["Triton, raw over loopback"] = drive(replace(plan, transport="raw"))
    total = result.fleets["Triton, shared memory"].total("fps")
    result.figures += [
        Figure(f"{cameras} cameras through Triton, in total", total, "fps"),
        Figure(f"{cameras} cameras, fairness (Jain)", result.fleets["Triton, shared memory"].fairness),
    ]
    if ratios:
        ratio = statistics.median(ratios)
        result.figures.append(Figure(f"{cameras} cameras, Triton against naive PyTorch", ratio, "x", 6.0))
    return result
