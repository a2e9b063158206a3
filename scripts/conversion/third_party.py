"""A third-party network: what it takes and gives, and what it makes of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov
from numpy.typing import NDArray
from onnx import TensorProto, inliner

from engines.catalog.contract import MAX_SCALE, STRENGTH_INPUT
from engines.errors import UserError, one_line
from engines.openvino.engine import core, first_line

Floats = NDArray[np.float32]
Size = tuple[int, int]
"""Height and width."""

FLOAT_TYPES: dict[int, type[np.floating[Any]]] = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16}
FLOAT32_OPTIONS = {"INFERENCE_PRECISION_HINT": "f32", "CACHE_DIR": ""}
"""OpenVINO's options for float32, whatever the processor likes better."""
CANDIDATE_MULTIPLES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 48, 64)
"""What sizes are tried to be multiples of, smallest first: blocks that are folded into channels, windows."""
MIN_SURVEY_PX = 48
"""Sizes that are tried begin here: above what a network without padding cuts off."""


class WrapError(UserError):
    """A network cannot be put under the contract."""


@dataclass(frozen=True)
class Geometry:
    """The sizes that a network takes, and how large its output is."""

    scale: int
    multiple: int = 1
    """Height and width must be multiples of this."""
    lost: int = 0
    """Pixels of the enlarged picture that are missing along each axis, half on either side: convolutions unpadded."""

    @property
    def border(self) -> int:
        """Pixels to add on every side, so that nothing of the picture is lost."""
        return -(-self.lost // (2 * self.scale))

    @property
    def offset(self) -> int:
        """Where the picture begins in the network's output for a picture with that border."""
        return self.scale * self.border - self.lost // 2

    @property
    def pads(self) -> bool:
        """Whether pictures have to be padded."""
        return self.multiple > 1 or self.lost > 0


class ThirdPartyNetwork:
    """An ONNX model with one float picture in and one out, run by OpenVINO."""

    def __init__(self, path: Path) -> None:
        """Read `path`. Raises WrapError if it is no such model."""
        self.path = path
        self.model = read(path)
        graph = self.model.graph
        constants = {constant.name for constant in graph.initializer}
        inputs = [port for port in graph.input if port.name not in constants]  # old exporters list weights too
        byte_ports = [port for port in inputs if port.name != STRENGTH_INPUT] + list(graph.output)
        if len(byte_ports) == 2 and all(port.type.tensor_type.elem_type == TensorProto.UINT8 for port in byte_ports):
            raise WrapError(
                f"{path} takes and returns bytes already, as the contract requires",
                f"its input {byte_ports[0].name} is uint8 {dimensions(byte_ports[0])}",
                f"It needs no wrapping: python -m app.run --model {path}",
            )
        for kind, ports in (("input", inputs), ("output", list(graph.output))):
            if len(ports) != 1:
                names = ", ".join(port.name for port in ports)
                raise self._refused(f"it has {len(ports)} {kind}s: {names}", "Export it with one.")
        self.input, self.output = inputs[0].name, graph.output[0].name
        shape, kind = dimensions(inputs[0]), inputs[0].type.tensor_type.elem_type
        if kind not in FLOAT_TYPES:
            raise self._refused(f"its input is {TensorProto.DataType.Name(kind)}", "Export it in float32 or float16.")
        self.kind: int = kind
        if len(shape) != 4 or shape[0] not in (1, None):
            raise self._refused(f"its input is {shape_text(shape)}", "It must take one picture: [1, 3, H, W].")
        self.last = shape[1] not in (1, 3) and shape[3] in (1, 3)
        """Whether channels are the last axis, as TensorFlow has them, not the second."""
        channels, *size = (shape[3], shape[1], shape[2]) if self.last else shape[1:]
        if channels not in (1, 3, None):
            raise self._refused(f"its input is {shape_text(shape)}", "It must take 3 channels, or 1 of luma.")
        self.channels = channels or 3
        self.height, self.width = size
        self._network = self._load()

    def _refused(self, facts: str, fix: str) -> WrapError:
        return WrapError(f"{self.path} is not a network from one picture to one picture", facts, fix)

    def _load(self) -> ov.Model:
        try:
            return core().read_model(self.model.SerializeToString())
        except Exception as error:  # OpenVINO's readers raise errors of many kinds
            raise WrapError(
                f"OpenVINO cannot read {self.path}", first_line(error), "Export it with plain ONNX operators."
            ) from None

    @property
    def fixed(self) -> bool:
        """Whether its height or width is fixed."""
        return self.height is not None or self.width is not None

    def size(self, height: int, width: int) -> Size:
        """Return the nearest size (height, width) that it takes: its own along an axis that is fixed."""
        return self.height or height, self.width or width

    def run(self, planes: Floats) -> Floats:
        """Return what it makes of float32 [channels, H, W], in the same layout.

        Raises WrapError.
        """
        picture = planes.transpose(1, 2, 0)[None] if self.last else planes[None]
        network = self._network.clone()
        try:
            network.reshape(list(picture.shape))
            compiled = core().compile_model(network, "CPU", FLOAT32_OPTIONS)
            result = np.asarray(compiled(np.ascontiguousarray(picture, FLOAT_TYPES[self.kind]))[0], np.float32)
        except RuntimeError as error:
            raise WrapError(f"{self.path} does not run at {size_of(planes)}", first_line(error)) from None
        if result.ndim != 4 or result.shape[0] != 1:
            raise self._refused(f"its output is {list(result.shape)}", "It must return one picture.")
        result = result[0].transpose(2, 0, 1) if self.last else result[0]
        if len(result) != self.channels:
            raise self._refused(
                f"it makes {list(result.shape)} of {list(planes.shape)}",
                f"It must return {self.channels} channels, too.",
            )
        return np.ascontiguousarray(result)

    def survey(self, multiple: int | None) -> Geometry:
        """Return its geometry, found by running it; with `multiple` only at multiples of that.

        Raises WrapError.
        """
        if self.height is not None and self.width is not None:
            result = self.run(np.zeros((self.channels, self.height, self.width), np.float32))
            scale = result.shape[1] // self.height
            if not self._fits(scale) or result.shape[1:] != (scale * self.height, scale * self.width):
                raise self._refused(
                    f"it makes {size_of(result)} of {self.width}x{self.height}",
                    f"Its output must be 1 to {MAX_SCALE} times as large.",
                )
            return Geometry(scale)
        why = ""
        for candidate in [multiple] if multiple else CANDIDATE_MULTIPLES:
            try:
                return self._at(candidate)
            except WrapError as error:
                why = why or f"with multiples of {candidate}: {one_line(error)}"
        raise WrapError(
            f"{self.path} works at none of the sizes that were tried",
            why,
            "Give --multiple N if its sizes must be multiples of N; or export it with dynamic height and width.",
        )

    def _at(self, multiple: int) -> Geometry:
        """Return its geometry if any multiple of `multiple` will do. Raises WrapError."""
        first = -(-MIN_SURVEY_PX // multiple)
        # Neighbours have no divisor in common: a network that needs more than `multiple` fails at one of them.
        inputs = [self.size(multiple * (first + n), multiple * (first + n + 1)) for n in range(2)]
        outputs = [self.run(np.zeros((self.channels, *size), np.float32)).shape[1:] for size in inputs]
        axis = 1 if self.width is None else 0  # one that is free
        grown = outputs[1][axis] - outputs[0][axis]
        scale = grown // (inputs[1][axis] - inputs[0][axis])
        lost = {scale * n - m for a, b in zip(inputs, outputs, strict=True) for n, m in zip(a, b, strict=True)}
        if not self._fits(scale) or len(lost) != 1 or min(lost) < 0 or (self.fixed and lost != {0}):
            sizes = ", ".join(f"{b[1]}x{b[0]} of {a[1]}x{a[0]}" for a, b in zip(inputs, outputs, strict=True))
            raise WrapError(f"it makes {sizes}", f"which is not 1 to {MAX_SCALE} times as large")
        return Geometry(scale, multiple, lost.pop())

    @staticmethod
    def _fits(scale: int) -> bool:
        return 1 <= scale <= MAX_SCALE


def read(path: Path) -> onnx.ModelProto:
    """Return the model in `path` with its weights, wherever they lie, and with its functions inlined.

    Raises WrapError.
    """
    try:
        model = onnx.load(path)
        model = inliner.inline_local_functions(model) if model.functions else model
    except FileNotFoundError as error:  # also a file of weights beside it
        raise WrapError(f"There is no file {error.filename or path}", fix="Give the .onnx file to wrap.") from None
    except Exception as error:  # protobuf's own, or of a checker of onnx
        raise WrapError(f"{path} is not an ONNX model", one_line(error), "Give the .onnx file to wrap.") from None
    if not model.graph.node:
        raise WrapError(f"{path} is not an ONNX model", "it has no layers", "Give the .onnx file to wrap.")
    return model


def dimensions(port: onnx.ValueInfoProto) -> list[int | None]:
    """Return the shape of an input or output, None for a free dimension."""
    return [d.dim_value if d.dim_value > 0 else None for d in port.type.tensor_type.shape.dim]


def shape_text(shape: list[int | None]) -> str:
    """Return such as "[1, 3, ?, ?]"."""
    return f"[{', '.join('?' if n is None else str(n) for n in shape)}]"


def size_of(planes: NDArray[Any]) -> str:
    """Return such as "640x360" for [channels, 360, 640]."""
    return f"{planes.shape[2]}x{planes.shape[1]}"
