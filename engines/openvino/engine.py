"""The embedded default: OpenVINO on whatever processor there is."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino.frontend import FrontEndManager
from platformdirs import user_cache_path

from engines.base import Image, Spec
from engines.catalog import shipped as catalog
from engines.catalog.contract import refused, scale_between, unfit
from engines.errors import EngineError, ModelError
from engines.openvino import row_shuffle, uint8_activations
from engines.slot_engine import SlotEngine

log = logging.getLogger(__name__)

NO_MEMORY_ERRORS = ("MemoryError", "std::bad_alloc")
WARM_UP_TIMEOUT_S = 60.0
"""Seconds that a slot's first inference may take."""


LEFT: list[OpenVinoSlot] = []
"""Closed while they hung, with the buffers that they may write to one day."""


class OpenVinoSlot:
    """One inference request with its own input and output buffer, which OpenVINO reads and writes in place."""

    def __init__(self, compiled: ov.CompiledModel) -> None:
        inputs, outputs = (np.empty(list(port.shape), np.uint8) for port in (compiled.input(), compiled.output()))
        self._request = compiled.create_infer_request()
        self._request.set_input_tensor(ov.Tensor(inputs, shared_memory=True))
        self._request.set_output_tensor(ov.Tensor(outputs, shared_memory=True))
        self.input: Image = inputs[0]
        self._output: Image = outputs[0]
        self.finished = 0.0
        # Python's collector cannot look into a request: one that held its slot, which holds it, would stay for ever.
        this = weakref.ref(self)

        def stamp(_userdata: Any) -> None:
            if (slot := this()) is not None:
                slot.finished = time.monotonic()

        # Called by OpenVINO's own thread: a collector that is late must not make the engine look slow.
        self._request.set_callback(stamp, None)

    def place(self, input: Image, output: Image) -> bool:
        """Work in these buffers from now on (engines.worker)."""
        self._request.set_input_tensor(ov.Tensor(input[None], shared_memory=True))
        self._request.set_output_tensor(ov.Tensor(output[None], shared_memory=True))
        self.input, self._output = input, output
        return True

    def launch(self, image: Image) -> None:
        if image is not self.input:
            np.copyto(self.input, image)
        self._request.start_async()

    def wait(self, timeout: float) -> Image:
        try:
            # wait_for() takes whole milliseconds and releases the GIL.
            if not self._request.wait_for(int(timeout * 1000)):
                raise TimeoutError
        except RuntimeError as error:
            raise EngineError("OpenVINO failed on a frame", first_line(error), "Try --engine bicubic.") from error
        return self._output

    def close(self) -> None:
        """The request goes with its last reference; one that runs is left behind: its end would be waited for."""
        with contextlib.suppress(RuntimeError):  # what it has failed with has been told
            if not self._request.wait_for(0):
                LEFT.append(self)


@functools.cache
def core() -> ov.Core:
    """This process's, which stays.

    Each one gives the thread that makes it a stack for signals, as AMX needs a large one, and takes that away when it
    goes. Of several that go in another order than they came, one leaves the thread with a stack that is gone, and the
    next signal, SIGTERM or a child's end, is a segmentation fault (intel_cpu/src/sigstack_manager.cpp in OpenVINO).
    """
    return ov.Core()


def first_line(error: Exception) -> str:
    """The part of an OpenVINO message that tells something: it begins with source positions of its own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Exception from", "Check '"))]
    last = (told or lines or [type(error).__name__])[-1]
    return "there is not enough memory" if last.startswith(NO_MEMORY_ERRORS) else last


def read(path: Path) -> ov.Model:
    """The model of an .onnx file. Raises EngineError if it is none."""
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
    """Give `model` its static shape for inputs of `size`;

    returns its scale. Raises ModelError (engines.catalog.contract).
    """
    for kind, ports in (("input", model.inputs), ("output", model.outputs)):
        if len(ports) != 1:
            raise refused(path, f"it has {len(ports)} {kind}s")
        if ports[0].element_type != ov.Type.u8 or len(ports[0].partial_shape) != 4:
            raise refused(path, f"its {kind} is {ports[0].element_type.to_string()} {ports[0].partial_shape}")
    width, height = size
    given, wanted = model.input().partial_shape, ov.PartialShape([1, height, width, 3])
    # reshape() alone would force another layout or size on a model that was made for one.
    if not given.compatible(wanted):
        raise unfit(path, [None if n.is_dynamic else n.get_length() for n in given], size)
    try:
        model.reshape(wanted)
    except RuntimeError as error:
        raise refused(path, f"with an input of {wanted} it makes no sense: {first_line(error)}") from None
    output = model.output().partial_shape
    if output.is_dynamic or output[0].get_length() != 1 or output[3].get_length() != 3:
        raise refused(path, f"its output is {output}")
    return scale_between(path, size, (output[2].get_length(), output[1].get_length()))


def compile_model(model: ov.Model, threads: int | None) -> ov.CompiledModel:
    """Compiled for the shortest time a frame, with the compiled blob cached in the user's cache folder.

    The precision of the arithmetic is OpenVINO's choice: bf16 or f16 where the processor has it.
    """
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "CACHE_DIR": ""}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    try:
        folder = user_cache_path("livesr", ensure_exists=True) / "openvino"
        folder.mkdir(exist_ok=True)
        return core().compile_model(model, "CPU", options | {"CACHE_DIR": str(folder)})
    except (OSError, RuntimeError) as error:
        log.warning("going on without the cache of compiled models: %s", error)
    try:
        return core().compile_model(model, "CPU", options)
    except RuntimeError as error:
        raise EngineError("OpenVINO cannot compile the model", first_line(error), "Try a smaller --size.") from error


def processor() -> str:
    """Its full name."""
    name: str = core().get_property("CPU", "FULL_DEVICE_NAME")
    return name


def precisions() -> tuple[str, ...]:
    """Which file of a model runs best here. Its fp32 one is computed in bf16 or f16 where the processor can."""
    quick = "INT8" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("int8", "fp32", "fp16") if quick else ("fp32", "fp16", "int8")


def precision_of(model: ov.Model, compiled: ov.CompiledModel) -> str:
    """What the arithmetic is done in, for the overlay: int8 if the file is quantised, else what was compiled."""
    if any(op.get_type_name() in ("FakeQuantize", "QuantizeLinear") for op in model.get_ops()):
        return "int8"
    kind: str = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    return {"f32": "fp32", "f16": "fp16"}.get(kind, kind)


def load(
    model: str, size: tuple[int, int], *, depth: int, threads: int | None, scale: int | None = None
) -> SlotEngine[Any]:
    """An OpenVINO engine for inputs of `size` (width, height); engines.load() documents the rest."""
    path = catalog.find(model, precisions(), scale)
    network = read(path)
    scale = fit(network, path, size)
    row_shuffle.apply(network)
    uint8_activations.apply(network, core())
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
    )
    slots = [OpenVinoSlot(compiled) for _ in range(depth)]
    blank = np.zeros((size[1], size[0], 3), np.uint8)
    for slot in slots:  # the first inference allocates; no visitor should wait for that
        slot.launch(blank)
        slot.wait(WARM_UP_TIMEOUT_S)
    return SlotEngine(spec, slots)
