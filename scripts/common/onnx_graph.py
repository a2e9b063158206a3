"""An ONNX graph written node by node, not traced, so that it reads well (in Netron, say) and holds nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

if TYPE_CHECKING:
    from torch import nn

EXPORT_OPSET = 17  # the newest that the ONNX parser of TensorRT 10.3 (JetPack 6.1) knows in full


class OnnxGraph:
    """Nodes and constants in the order they run. Each node is named after its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Append a node of `kind`; return the name of its output, `name`."""
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Any) -> str:
        """Append a constant; return its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def conv(
        self,
        name: str,
        source: str,
        conv: nn.Conv2d,
        *,
        weight: float = 1,
        bias: float = 1,
        pad: int = 1,
        copies: int = 1,
    ) -> str:
        """Append a 3x3 convolution, its weight and bias multiplied by constants; return the name of its output.

        With `copies` all its outputs are repeated that many times.
        """
        assert conv.bias is not None
        constants = [
            self.constant(f"{name}.weight", (conv.weight.detach() * weight).repeat(copies, 1, 1, 1).numpy()),
            self.constant(f"{name}.bias", (conv.bias.detach() * bias).repeat(copies).numpy()),
        ]
        return self.add("Conv", name, source, *constants, kernel_shape=[3, 3], pads=[pad] * 4)
