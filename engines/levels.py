"""Levels: the grey levels of a picture as the 8-bit numbers they are, in a graph of OpenVINO's.

In an int8 file the convolutions that read the picture itself are not quantised: int8 with zero point 0, which TensorRT
wants, would cost the picture one of its 8 bits. OpenVINO takes bytes from 0 to 255, so here the first convolution can
read them as they are, and what it makes goes on in int8 with nothing in between: 1.04 times as fast (fast-x2-int8, two
cores of an AMD EPYC), for 0.004 dB less on Set5 and Set14 at most, 0.013 more at best (balanced-x2, fast-x2).
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

BETWEEN = {"Add", "Relu"}
"""What may stand between a convolution and the quantisation of what it makes."""
LARGEST = 127

Floats = NDArray[np.float32]


def apply(model: ov.Model) -> int:
    """Quantise the convolutions that read a picture's bytes and are read in int8; returns how many there are.

    Their input has to be bytes that have got their edges, as rows.edge() leaves them.
    """
    found = [node for node in model.get_ops() if node.get_type_name() == "Convolution" and quantisable(node)]
    for conv in found:
        planes, kernel = (port.get_source_output().get_node() for port in conv.inputs())
        picture, order = (port.get_source_output() for port in planes.inputs())
        exact = fake_quantize(picture, np.float32(0), np.float32(255), 256)
        conv.input(0).replace_source_output(ops.transpose(exact, order).output(0))
        whole, step = rounded(kernel.data)
        weights = fake_quantize(ops.constant(whole * step).output(0), -LARGEST * step, LARGEST * step, 2 * LARGEST + 1)
        conv.input(1).replace_source_output(weights)
    return len(found)


def fake_quantize(values: ov.Output, low: Floats | np.float32, high: Floats | np.float32, levels: int) -> ov.Output:
    ends = [ops.constant(end) for end in (low, high)]
    return ops.fake_quantize(values, *ends, *ends, levels).output(0)


def quantisable(conv: ov.Node) -> bool:
    planes, kernel = (port.get_source_output().get_node() for port in conv.inputs())
    if planes.get_type_name() != "Transpose" or kernel.get_type_name() != "Constant":
        return False
    picture = planes.input(0).get_source_output().get_node()
    if picture.get_type_name() != "Convert" or picture.get_input_element_type(0) != ov.Type.u8:
        return False
    node = conv
    while True:
        readers = [port.get_node() for port in node.output(0).get_target_inputs()]
        readers = [reader for reader in readers if reader.get_type_name() != "ShapeOf"]  # of a bias, as ONNX is read
        if len(readers) != 1 or readers[0].get_type_name() not in {*BETWEEN, "FakeQuantize"}:
            return False
        node = readers[0]
        if node.get_type_name() == "FakeQuantize":
            return True


def rounded(kernel: Floats) -> tuple[Floats, Floats]:
    """`kernel` [O, I, h, w] as whole numbers up to LARGEST, and the steps [O, 1, 1, 1] that they count.

    Of each colour their sum is that of the kernel to within half a step, or a flat area would come out lighter or
    darker; for that, those that were nearest to being rounded the other way are.
    """
    step = np.maximum(np.abs(kernel).max((1, 2, 3), keepdims=True), np.finfo(np.float32).tiny) / LARGEST
    exact = (kernel / step).reshape(*kernel.shape[:2], -1)
    whole = np.round(exact)
    left = exact - whole
    missing = np.round(left.sum(-1, keepdims=True))
    ranks = np.argsort(np.argsort(-left * np.sign(missing), axis=-1), axis=-1)
    whole += np.sign(missing) * (ranks < np.abs(missing))
    return np.clip(whole, -LARGEST, LARGEST).reshape(kernel.shape).astype(np.float32), step.astype(np.float32)
