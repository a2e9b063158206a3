"""Levels: the grey levels of a picture as the 8-bit numbers they are, in a graph of OpenVINO's.

In an int8 file the convolutions that read the picture itself are not quantised: int8 with zero point 0, which TensorRT
wants, would cost the picture one of its 8 bits. OpenVINO takes bytes from 0 to 255, so here they read those as they
are, and what the first one makes goes on in int8 with nothing in between: 1.08 to 1.12 times as fast (shipped networks
but quality-x2, two cores of an AMD EPYC). PSNR on Set5 and Set14 changes by -0.006 to 0.006 dB, that of the webcam
networks by -0.027 to 0.007.
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

LARGEST = 127
MEAN, DEVIATION, NEIGHBOURS, COLOURS = 103, 58, 0.95, 0.8
"""What photographs are like: the mean of their grey levels, the standard deviation, and the correlation of neighbours
and of the colours of a pixel (100 photographs of BSDS500 at half their size)."""

Floats = NDArray[np.float32]


def apply(model: ov.Model) -> int:
    """Quantise the convolutions of an int8 model that read a picture's bytes; returns how many there are.

    Their input has to be bytes that have got their edges, as rows.edge() leaves them.
    """
    nodes = model.get_ops()
    if not any(node.get_type_name() == "FakeQuantize" for node in nodes):
        return 0
    found = 0
    for planes in nodes:
        if not is_picture(planes):
            continue
        exact = fake_quantize(planes.input_value(0), np.float32(0), np.float32(255), 256)
        planes.input(0).replace_source_output(exact)
        for conv in readers(planes):
            whole, step = rounded(conv.input_value(1).get_node().data)
            weights = ops.constant(whole * step).output(0)
            quantised = fake_quantize(weights, -LARGEST * step, LARGEST * step, 2 * LARGEST + 1)
            conv.input(1).replace_source_output(quantised)
            found += 1
    return found


def fake_quantize(values: ov.Output, low: Floats | np.float32, high: Floats | np.float32, levels: int) -> ov.Output:
    ends = [ops.constant(end) for end in (low, high)]
    return ops.fake_quantize(values, *ends, *ends, levels).output(0)


def readers(node: ov.Node) -> list[ov.Node]:
    return [port.get_node() for port in node.output(0).get_target_inputs()]


def is_picture(node: ov.Node) -> bool:
    """Whether it makes planes of a picture's bytes, for convolutions with constant kernels and nothing else."""
    if node.get_type_name() != "Transpose":
        return False
    numbers = node.input_value(0).get_node()
    if numbers.get_type_name() != "Convert" or numbers.get_input_element_type(0) != ov.Type.u8:
        return False
    return all(
        reader.get_type_name() == "Convolution" and reader.input_value(1).get_node().get_type_name() == "Constant"
        for reader in readers(node)
    )


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
