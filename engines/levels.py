"""Levels: the grey levels of a picture as the 8-bit numbers they are, in a graph of OpenVINO's.

In an int8 file the convolutions that read the picture itself are not quantised: int8 with zero point 0, which TensorRT
wants, would cost the picture one of its 8 bits. OpenVINO takes bytes from 0 to 255, so here they can be read as they
are: by the first convolution, from where it goes on in int8 with nothing in between (1.04 times as fast, fast-x2-int8,
two cores of an AMD EPYC), and at scale 3 and 4 by that of the picture's own path (1.07 times, fast-x3-int8 and
fast-x4-int8; at 2 nothing is gained). Both change PSNR by -0.012 to
0.012 dB (11 networks on Set5 and Set14).
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

BETWEEN = {"Add", "Relu"}
"""What may stand between a convolution and the quantisation of what it makes, or its rounding to a picture's bytes."""
LARGEST = 127
LEAST = 3
MEAN, DEVIATION, NEIGHBOURS, COLOURS = 103, 58, 0.95, 0.8
"""What photographs are like: the mean of their grey levels, the standard deviation, and the correlation of neighbours
and of the colours of a pixel (100 photographs of BSDS500 at half their size)."""

Floats = NDArray[np.float32]


def apply(model: ov.Model, scale: int) -> int:
    """Quantise the convolutions that read a picture's bytes and are read in int8 or, from scale LEAST on, make the
    picture `scale` times as large; returns how many there are.

    Their input has to be bytes that have got their edges, as rows.edge() leaves them.
    """
    convolutions = [node for node in model.get_ops() if node.get_type_name() == "Convolution"]
    int8 = any(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
    ends = {"FakeQuantize", "Round"} if int8 and scale >= LEAST else {"FakeQuantize"}
    found = [node for node in convolutions if reads_bytes(node) and leads_to(node, ends)]
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


def reads_bytes(conv: ov.Node) -> bool:
    planes, kernel = (port.get_source_output().get_node() for port in conv.inputs())
    if planes.get_type_name() != "Transpose" or kernel.get_type_name() != "Constant":
        return False
    picture = planes.input(0).get_source_output().get_node()
    return bool(picture.get_type_name() == "Convert" and picture.get_input_element_type(0) == ov.Type.u8)


def leads_to(node: ov.Node, ends: set[str]) -> bool:
    """Whether one of `ends` is the first to read what `node` makes, or there is little between them."""
    while True:
        readers = [port.get_node() for port in node.output(0).get_target_inputs()]
        readers = [reader for reader in readers if reader.get_type_name() != "ShapeOf"]  # of a bias, as ONNX is read
        if len(readers) != 1 or readers[0].get_type_name() not in BETWEEN | ends:
            return False
        node = readers[0]
        if node.get_type_name() in ends:
            return True


def rounded(kernel: Floats) -> tuple[Floats, Floats]:
    """`kernel` [O, I, h, w] as whole numbers up to LARGEST, and the steps [O, 1, 1, 1] that they count.

    Neighbours are much alike, so that errors of equal sign add up: a flat area would come out lighter or darker. From
    the nearest numbers on, that which lessens the squared error of what comes out most goes up or down by one, until
    none does. Of a kernel that interpolates the sum is a whole number of steps.
    """
    step = np.maximum(np.abs(kernel).max((1, 2, 3), keepdims=True), np.finfo(np.float32).tiny) / LARGEST
    total = np.abs(kernel.sum((1, 2, 3), keepdims=True))
    count = np.floor(total / step)
    step = np.where(count > LARGEST, total / np.maximum(count, 1), step)  # coarser by less than one in LARGEST
    exact = (kernel / step).reshape(len(kernel), -1).astype(np.float64)
    moments, whole, every = products(*kernel.shape[1:]), np.round(exact), np.arange(len(exact))
    least = moments[0, 0] * 1e-6  # or two that are as good would change places for ever
    while True:
        slope = (whole - exact) @ moments
        one = -np.sign(slope)
        gain = np.where(np.abs(whole + one) > LARGEST, 0, 2 * np.abs(slope) - np.diag(moments))
        if gain.max() <= least:
            return whole.reshape(kernel.shape).astype(np.float32), step.astype(np.float32)
        best = gain.argmax(1)
        whole[every, best] += np.where(gain[every, best] > least, one[every, best], 0)


def products(colours: int, height: int, width: int) -> NDArray[np.float64]:
    """The mean product of each two values of a patch [colours, height, width] of a photograph, by its flat order.

    Correlation falls by a constant factor a pixel (Jain, Fundamentals of Digital Image Processing, 1989, 2.9).
    """
    y, x = np.indices((height, width)).reshape(2, -1)
    near = NEIGHBOURS ** np.hypot(y[:, None] - y, x[:, None] - x)
    same = np.where(np.eye(colours), 1, COLOURS)
    found: NDArray[np.float64] = np.kron(same, near) * DEVIATION**2 + MEAN**2
    return found
