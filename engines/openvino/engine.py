"""OpenVINO on whatever processor there is: what `auto` takes without an NVIDIA GPU."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino.frontend import FrontEndManager
from platformdirs import user_cache_path

from engines.base import Engine, Image, Spec, Strength
from engines.catalog.contract import STRENGTH_INPUT, refused, scale_between, unfit
from engines.catalog.resolved import resolve_file
from engines.errors import EngineError, ModelError
from engines.openvino import row_shuffle, self_check, self_check_cache, uint8_activations
from engines.openvino.self_check_cache import Key, SelfCheckCache
from engines.request import EngineRequest
from engines.slot_engine import WARM_UP_TIMEOUT_S, SlotEngine

log = logging.getLogger(__name__)

NO_MEMORY_ERRORS = ("MemoryError", "std::bad_alloc")


class OpenVinoSlot:
    """One inference request with its own input and output buffer, which OpenVINO reads and writes in place."""

    def __init__(
        self, compiled: ov.CompiledModel, strength: Strength | None = None, *, wide: ov.CompiledModel | None = None
    ) -> None:
        """Make an inference request and allocate its buffers.

        `strength` is read at each launch, if the network takes one; `wide` is what computes frames of strengths above
        1, if that is another model.
        """
        inputs, outputs = (np.empty(list(port.shape), np.uint8) for port in (compiled.input(0), compiled.output()))
        self._strength, self._factor = strength or Strength(), np.ones(1, np.float32)
        self._usual = self._request = compiled.create_infer_request()
        self._wide = self._usual if wide is None else wide.create_infer_request()
        if len(compiled.inputs) > 1:
            for request in (self._usual, self._wide):
                request.set_input_tensor(1, ov.Tensor(self._factor, shared_memory=True))
        self._launched = self.finished = 0.0
        self.input: Image
        self.place(inputs[0], outputs[0])

    def place(self, input: Image, output: Image) -> bool:
        """Work in these buffers from now on (engines.worker)."""
        for request in (self._usual, self._wide):
            request.set_input_tensor(0, ov.Tensor(input[None], shared_memory=True))
            request.set_output_tensor(ov.Tensor(output[None], shared_memory=True))
        self.input, self._output = input, output
        return True

    def warm_up(self) -> None:
        """Compute a black picture: the first inference allocates, and no visitor should wait for that."""
        self.input.fill(0)
        for request in (self._wide, self._usual):
            self._request = request
            request.start_async()
            self.wait(WARM_UP_TIMEOUT_S)

    def launch(self, image: Image) -> None:
        """Copy `image`, uint8 [H, W, 3], unless it is `input` itself, and start the inference."""
        if image is not self.input:
            np.copyto(self.input, image)
        strength = self._strength.value
        self._factor[0] = strength
        self._request = self._wide if strength > 1 else self._usual
        self._launched = time.monotonic()
        self._request.start_async()

    def wait(self, timeout: float) -> Image:
        """Return the result; see engines.base.Slot. Raises TimeoutError, EngineError."""
        try:
            # wait_for() takes whole milliseconds and releases the GIL.
            if not self._request.wait_for(int(timeout * 1000)):
                raise TimeoutError
        except RuntimeError as error:
            raise EngineError("OpenVINO failed on a frame", first_line(error), "Try --engine bicubic.") from error
        # Its own clock's: a collector that is late must not make the engine look slow. No callback reports it: after
        # one of Python's, and after wait_for(), OpenVINO's thread takes the GIL again to let go of it. If the process
        # is at its end by then, Python ends the thread there, and C++ aborts: "terminate called without an active
        # exception".
        self.finished = self._launched + self._request.latency / 1000
        return self._output

    def close(self) -> None:
        """Let the request go with its last reference; one that runs is kept, as freeing it would wait for its end."""
        with contextlib.suppress(RuntimeError):  # its failure has been reported
            if not self._request.wait_for(0):
                abandoned_slots().append(self)


@functools.cache
def core() -> ov.Core:
    """Return this process's core, which stays.

    Each one gives the thread that makes it a stack for signals, as AMX needs a large one, and takes that away when it
    goes. Of several that go in another order than they came, one leaves the thread with a stack that is gone, and the
    next signal, SIGTERM or a child's end, is a segmentation fault (intel_cpu/src/sigstack_manager.cpp in OpenVINO).
    """
    return ov.Core()


@functools.cache
def abandoned_slots() -> list[OpenVinoSlot]:
    """Return this process's slots that were closed while they hung, with the buffers that they may write to one day."""
    return []


def first_line(error: Exception) -> str:
    """Return the informative part of an OpenVINO message, which begins with source positions of its own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    last = (useful or lines or [type(error).__name__])[-1]
    return "there is not enough memory" if last.startswith(NO_MEMORY_ERRORS) else last


def read(path: Path) -> ov.Model:
    """Return the model of an .onnx file. Raises ModelError if it is none."""
    # Core.read_model() would offer a file that is no ONNX model to its readers of other formats, which complain
    # on stderr, and would run what they make of it.
    onnx = FrontEndManager().load_by_framework("onnx")
    try:
        return onnx.convert(onnx.load(path))
    except Exception as error:  # the reader's own exceptions share no other base
        raise ModelError(
            f"{path} is not an ONNX model", first_line(error), "Give an .onnx file, or a name from --list."
        ) from error


def fit(model: ov.Model, path: Path, size: tuple[int, int]) -> int:
    """Give `model` its static shape for inputs of `size` (width, height), and return its scale.

    Raises:
        ModelError: It breaks the contract (engines.catalog.contract) or does not take this size.
    """
    frames = model.inputs[:-1] if takes_strength(model) else model.inputs
    for kind, ports in (("input", frames), ("output", model.outputs)):
        if len(ports) != 1:
            raise refused(path, f"it has {len(ports)} {kind}s")
        if ports[0].element_type != ov.Type.u8 or len(ports[0].partial_shape) != 4:
            raise refused(path, f"its {kind} is {ports[0].element_type.to_string()} {ports[0].partial_shape}")
    width, height = size
    given, wanted = model.input(0).partial_shape, ov.PartialShape([1, height, width, 3])
    # reshape() alone would force another layout or size on a model that was made for one.
    if not given.compatible(wanted):
        raise unfit(path, [None if n.is_dynamic else n.get_length() for n in given], size)
    try:
        model.reshape({model.input(0): wanted})
    except RuntimeError as error:
        raise refused(path, f"it cannot take an input of {wanted}: {first_line(error)}") from None
    output = model.output().partial_shape
    if output.is_dynamic or output[0].get_length() != 1 or output[3].get_length() != 3:
        raise refused(path, f"its output is {output}")
    return scale_between(path, size, (output[2].get_length(), output[1].get_length()))


def takes_strength(model: ov.Model) -> bool:
    """Return whether the second and last input of `model` is the contract's strength."""
    if len(model.inputs) != 2:
        return False
    port = model.input(1)
    named, is_float = STRENGTH_INPUT in port.get_names(), port.element_type == ov.Type.f32
    return named and is_float and port.partial_shape == ov.PartialShape([1])


def compile_options(threads: int | None) -> dict[str, Any]:
    """Return options for the shortest time a frame, without a cache.

    The precision of the arithmetic is OpenVINO's choice: bf16 or f16 where the processor has it.
    """
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "CACHE_DIR": ""}
    return options | ({"INFERENCE_NUM_THREADS": threads} if threads else {})


def cache_folder() -> Path:
    """Return the folder of compiled models and of the results of self-checks, which need not exist."""
    return user_cache_path("livesr") / "openvino"


def compile_model(model: ov.Model, threads: int | None) -> ov.CompiledModel:
    """Return `model`, compiled as compile_options() says; the blob is cached in the user's cache folder."""
    options = compile_options(threads)
    try:
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        return core().compile_model(model, "CPU", options | {"CACHE_DIR": str(folder)})
    except (OSError, RuntimeError) as error:
        log.warning("continuing without the cache of compiled models: %s", error)
    try:
        return core().compile_model(model, "CPU", options)
    except RuntimeError as error:
        raise EngineError("OpenVINO cannot compile the model", first_line(error), "Try a smaller --size.") from error


def processor() -> str:
    """Its full name."""
    name: str = core().get_property("CPU", "FULL_DEVICE_NAME")
    return name


def precisions() -> tuple[str, ...]:
    """Return which files of a model run best here, best first; fp32 is computed in bf16 or f16 where possible."""
    quick = "INT8" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("int8", "fp32", "fp16") if quick else ("fp32", "fp16", "int8")


def precision_of(model: ov.Model, compiled: ov.CompiledModel) -> str:
    """Return what the arithmetic is done in, for the overlay: int8 if the file is quantised, else what was compiled."""
    if self_check.is_quantised(model):
        return "int8"
    kind: str = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    return {"f32": "fp32", "f16": "fp16"}.get(kind, kind)


@dataclass(frozen=True)
class Rewriting:
    """A change to a graph that makes it faster and must not make its picture another one."""

    apply: self_check.Rewrite
    version: str
    """Differs where `apply` may do something else."""
    apply_wide: Callable[[ov.Model], bool] | None = None
    """The same for strengths above 1, where the detail needs more room; returns whether it has done anything else."""


@functools.cache
def default_rewriting() -> Rewriting:
    """Return what this engine does to every graph."""

    def apply(network: ov.Model) -> None:
        row_shuffle.apply(network)
        uint8_activations.apply(network, core())

    def apply_wide(network: ov.Model) -> bool:
        row_shuffle.apply(network)
        differs = uint8_activations.fuses_detail(network, core())
        uint8_activations.apply(network, core(), fuse=False)
        return differs

    version = self_check_cache.source_digest(row_shuffle, uint8_activations, self_check)
    return Rewriting(apply, version, apply_wide)


def check_size(network: ov.Model, size: tuple[int, int]) -> tuple[int, int]:
    """Return width and height of the self-check's frame: `size`, the engine's, if the file takes no other."""
    width, height = self_check.SIZE
    free = network.input(0).partial_shape.compatible(ov.PartialShape([1, height, width, 3]))
    return self_check.SIZE if free else size


def is_right_here(rewriting: Rewriting, path: Path, size: tuple[int, int], threads: int | None) -> bool:
    """Return whether `rewriting` leaves the picture of the int8 file `path` as it is on this processor.

    It is tried once (self_check), on a frame of the engine's `size` (width, height) if the file takes no smaller one,
    and the result is kept. Where the answer is no, one line in the log says so.
    """
    name, checksum = path.stem, hashlib.sha256(path.read_bytes()).hexdigest()
    processor = self_check_cache.processor_id(core())
    key = Key(checksum, rewriting.version, ov.get_version(), processor)
    cache = SelfCheckCache(cache_folder())
    psnr_db = cache.get(key)
    if psnr_db is None:
        began = time.monotonic()
        try:
            plain = read(path)
            fit(plain, path, check_size(plain, size))
            psnr_db = self_check.agreement_db(core(), plain, rewriting.apply, compile_options(threads))
        except (ModelError, RuntimeError) as error:
            log.warning("%s runs as it is in the file, slower: its self-check failed: %s", name, first_line(error))
            return False
        log.debug("%s: self-check %.1f dB in %.0f ms", name, psnr_db, 1000 * (time.monotonic() - began))
        cache.put(key, psnr_db)
    if psnr_db < self_check.LEAST_DB:
        wanted = f"{psnr_db:.1f} dB beside it on this processor, {self_check.LEAST_DB:g} are needed"
        log.warning("%s runs as it is in the file, slower: the faster graph reads %s", name, wanted)
    return psnr_db >= self_check.LEAST_DB


def load(
    request: EngineRequest, *, rewriting: Rewriting | None = None, strength: Strength | None = None
) -> Engine[Any]:
    """Return an OpenVINO engine for `request`, of which size, model, scale, depth and `openvino` count.

    `strength` is read for each frame, if the model takes one. `rewriting`, None for default_rewriting(), is applied to
    an int8 file only where it is right (is_right_here()).

    Raises:
        ModelError: The model is missing, breaks the contract or does not take this size.
        EngineError: OpenVINO cannot compile it.
    """
    size, threads, rewriting = request.size, request.openvino.threads, rewriting or default_rewriting()
    path = resolve_file(request.model, request.scale, precisions()).path
    assert path is not None  # resolve_file() always has one
    network = read(path)
    scale = fit(network, path, size)
    wide = None
    if not self_check.is_quantised(network) or is_right_here(rewriting, path, size, threads):
        if takes_strength(network) and rewriting.apply_wide is not None:
            copy = network.clone()
            wide = compile_model(copy, threads) if rewriting.apply_wide(copy) else None
        rewriting.apply(network)
    compiled = compile_model(network, threads)
    used = compiled.get_property("INFERENCE_NUM_THREADS")
    spec = Spec(
        name="openvino",
        device=f"{processor()}, {used} threads",
        model=path.stem,
        precision=precision_of(network, compiled),
        scale=scale,
        input=size,
        output=(size[0] * scale, size[1] * scale),
        takes_strength=takes_strength(network),
    )
    slots = [OpenVinoSlot(compiled, strength, wide=wide) for _ in range(request.depth)]
    for slot in slots:
        slot.warm_up()
    return SlotEngine(spec, slots)
