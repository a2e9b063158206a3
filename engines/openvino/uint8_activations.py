"""Lets an int8 graph of OpenVINO's use all 256 levels of a byte.

TensorRT wants int8 with zero point 0. That has 127 levels for what a ReLU leaves, and one bit less than a picture; so
in an int8 file the convolutions that read the picture are not quantised. OpenVINO takes bytes from 0 to 255 as well:

- What ReLUs leave gets 256 levels. PSNR on Set5 and Set14 grows by 0.006 to 0.039 dB. Without VNNI (adds_exactly())
  OpenVINO would move the 127 up by 128, and lose 0.1 to 0.3 dB.
- The convolutions that read the picture read its bytes as they are, and what the first one makes goes on in int8 with
  nothing in between: 1.08 to 1.12 times as fast (shipped networks but quality-x2, two cores of an AMD EPYC). That
  changes PSNR by -0.006 to 0.006 dB, of the webcam networks by -0.027 to 0.007.
- At scale 3 and 4 one convolution of bytes makes each row of the enlarged picture, of the picture's pixels and of the
  detail (fuse_detail_add()), where floats were added before: fast-x4 1.2 times as fast, fast-x3 1.05, for 0.002 to
  0.007 dB.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

INT8 = 127
"""The largest value of int8 with zero point 0."""
BLACK, WHITE = np.float32(0), np.float32(255)
CLIP_RATIO = 11.16 / 9.89
"""Where 256 levels best end beside where 128 do. Of what falls off like exp(-x), levels that end at a leave the least
squared error with exp(-a) = a / (12 * 4 ** bits) (Banner et al., arXiv:1810.05723, for one side)."""
DEQUANTIZE_OPS = ["Convert", "Convert", "Subtract", "Multiply"]
"""The operations that make numbers of int8 again."""
DETAIL_STEP = 5
DETAIL_GAIN, DETAIL_ZERO_POINT = DETAIL_STEP / 4, np.float32(128)
"""Levels of a byte for one grey level of detail, so that it goes to 102 of them up and down (1 to 2 were tried), and
that at which there is none. Multiples of DETAIL_STEP divided by DETAIL_GAIN are whole numbers."""
MIN_ROWS = 3
"""The number of rows from which fuse_detail_add() is worth it."""
PHOTO_MEAN, PHOTO_DEVIATION, NEIGHBOUR_CORRELATION, COLOUR_CORRELATION = 103, 58, 0.95, 0.8
"""What photographs are like: the mean of their grey levels, the standard deviation, and the correlation of neighbours
and of the colours of a pixel (100 photographs of BSDS500 at half their size)."""

Floats = NDArray[np.float32]


def apply(model: ov.Model, core: ov.Core | None, *, fuse: bool = True) -> int:
    """Let an int8 model use whole bytes, and return how many convolutions read those of the picture then.

    Those must be padded already, as row_shuffle.pad_before_convert() leaves them. `core` will compile the model; None:
    one on a processor that is not known. Where that need not add exactly (adds_exactly()), the picture is left: with
    weights that are small enough, half of INT8, it would lose 0.09 dB. `fuse`: whether to call fuse_detail_add(), whose
    bytes have room for a detail of 102 grey levels: of fast-x3 to quality-x4 at most 0.7 % of the values in a page of
    print (Set14) have more, but of twice the detail up to 7 %.
    """
    steps = [node for node in model.get_ops() if node.get_type_name() == "FakeQuantize"]
    for node in steps:
        requantize_relu(node)
    if not steps or core is None or not adds_exactly(core):
        return 0
    if fuse:
        fuse_detail_add(model)
    found = 0
    for planes in filter(is_picture, model.get_ops()):
        planes.input(0).replace_source_output(in_bytes(planes.input_value(0)))
        for conv in readers(planes):
            whole, step = rounded(conv.input_value(1).get_node().data)
            conv.input(1).replace_source_output(in_int8(whole * step, INT8 * step))
            found += 1
    return found


@functools.cache
def adds_exactly(core: ov.Core) -> bool:
    """Return whether the processor adds products of bytes and int8 exactly, by trying it.

    x86 without VNNI adds two of them in 16 bits, and what is too large becomes the largest there is ("Nuances of int8
    computations" in oneDNN's documentation).
    """
    numbers = ops.parameter([1, 3, 8, 8], np.float32)
    kernel = np.full((16, 3, 3, 3), INT8, np.float32)
    try:
        tried = ov.Model([convolution(in_bytes(numbers.output(0)), in_int8(kernel, np.float32(INT8)))], [numbers])
        compiled = core.compile_model(tried, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        sums = compiled(np.full((1, 3, 8, 8), WHITE, np.float32))[0]
    except RuntimeError:  # too little memory, say: compiling the network will report that
        return False
    return bool(np.allclose(sums, WHITE * kernel[0].sum(), rtol=0.01))


def requantize_relu(node: ov.Node) -> None:
    """Give the output of a ReLU all levels of a byte.

    Only if this FakeQuantize and what follows it make int8 of it, and numbers again.
    """
    low, high = (np.asarray(node.input_value(place).get_node().data) for place in (1, 2))
    producer, step, end = node.input_value(0).get_node().get_type_name(), high / INT8, node
    if producer != "Relu" or high.size != 1 or not np.isclose(low, -(INT8 + 1) * step, rtol=1e-3):
        return
    for kind in DEQUANTIZE_OPS:
        if [reader.get_type_name() for reader in readers(end)] != [kind]:
            return
        end = readers(end)[0]
    wide = in_bytes(node.input_value(0), np.float32(CLIP_RATIO * high))
    for port in end.output(0).get_target_inputs():
        port.replace_source_output(wide)


@dataclass(frozen=True)
class Row:
    """How numbers [1, n, H, W] of a row come about, as row_shuffle.split_depth_to_space() leaves them.

    By `kernel` [n, 3, h, w] and `bias` [n] from the `planes` of the picture, and by `copies` [n, m] from m channels of
    `detail`; `bytes` are the row's numbers, rounded.
    """

    planes: ov.Output
    kernel: Floats
    bias: Floats
    detail: ov.Output
    copies: Floats
    bytes: ov.Output


def row_of(rounding: ov.Node) -> Row | None:
    """Return the row that `rounding` rounds, if it comes about like that."""
    clamped, ends = rounding, set()
    while [reader.get_type_name() for reader in readers(clamped)] in (["Maximum"], ["Minimum"]):
        clamped = readers(clamped)[0]
        ends |= {float(value) for port in clamped.inputs() if (value := constant(port)) is not None and value.size == 1}
    total = rounding.input_value(0).get_node()
    if total.get_type_name() != "Add" or ends != {0, WHITE}:
        return None
    path, spread = (port.get_source_output().get_node() for port in total.inputs())
    if [path.get_type_name(), spread.get_type_name()] != ["Add", "Convolution"]:
        return None
    conv = path.input_value(0).get_node()
    if conv.get_type_name() != "Convolution" or not is_picture(conv.input_value(0).get_node()):
        return None
    kernel, bias, copies = (constant(node.input(1)) for node in (conv, path, spread))
    if kernel is None or bias is None or copies is None or copies.shape[2:] != (1, 1) or not plain(conv):
        return None
    # Where this is a picture already, of no more than twice a pixel, what is added is a detail and small.
    if np.abs(kernel).max() > 2 or not np.allclose(kernel.sum((1, 2, 3)), 1, atol=0.1):
        return None
    return Row(
        conv.input_value(0), kernel, bias.reshape(-1), spread.input_value(0), copies[..., 0, 0], clamped.output(0)
    )


def plain(conv: ov.Node) -> bool:
    """Return whether it is as convolution() makes them: no strides, dilations or pads."""
    attributes = conv.get_attributes()
    values = (attributes[name] for name in ("strides", "dilations", "pads_begin", "pads_end"))
    return [list(each) for each in values] == [[1, 1], [1, 1], [0, 0], [0, 0]]


def fusible_rows(model: ov.Model) -> list[list[Row]]:
    """Return the rows that fuse_detail_add() makes anew, those of one picture and one detail together."""
    alike: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for node in model.get_ops():
        if node.get_type_name() == "Round" and (row := row_of(node)):
            alike[row.planes.get_node().get_name(), row.detail.get_node().get_name()].append(row)
    return [rows for rows in alike.values() if len(rows) >= MIN_ROWS]


def fuses_detail(model: ov.Model, core: ov.Core) -> bool:
    """Return whether apply() would come to anything else without `fuse`, of a model that is in rows already."""
    quantised = any(node.get_type_name() == "FakeQuantize" for node in model.get_ops())
    return quantised and adds_exactly(core) and bool(fusible_rows(model))


def fuse_detail_add(model: ov.Model) -> None:
    """Let one convolution of bytes make each row, of each pixel's neighbours, laid out as channels, and the detail."""
    for rows in fusible_rows(model):
        shape = rows[0].kernel.shape[1:]
        each = np.eye(math.prod(shape), dtype=np.float32).reshape(-1, *shape)
        neighbours = convolution(rows[0].planes, ops.constant(each).output(0))
        moved = ops.add(ops.multiply(rows[0].detail, np.float32(DETAIL_GAIN)), DETAIL_ZERO_POINT).output(0)
        mixed = ops.concat([in_bytes(neighbours), in_bytes(moved)], 1).output(0)
        for row in rows:
            bytes_ = in_bytes(row_convolution(row, mixed))
            for port in row.bytes.get_target_inputs():
                port.replace_source_output(bytes_)


def row_convolution(row: Row, mixed: ov.Output) -> ov.Output:
    """Return the numbers of `row`, by one convolution of `mixed`: the bytes of neighbours and detail."""
    # The integer that stands for a weight of 1. It and the kernel's sum stay integers when divided by DETAIL_GAIN.
    unit = DETAIL_STEP * np.floor(INT8 / DETAIL_STEP / np.maximum(np.abs(row.kernel).max((1, 2, 3), keepdims=True), 1))
    near = error_aware_rounding(row.kernel, 1 / unit).reshape(*unit.shape[:1], -1, 1, 1) / unit
    weights = np.concatenate([near, row.copies[:, :, None, None] / DETAIL_GAIN], 1).astype(np.float32)
    sums = convolution(mixed, in_int8(weights, (INT8 / unit).astype(np.float32)))
    rest = row.bias - DETAIL_ZERO_POINT / DETAIL_GAIN * row.copies.sum(1)
    return ops.add(sums, rest.astype(np.float32)[None, :, None, None]).output(0)


def constant(port: ov.Input) -> Any | None:
    """Return the value of what an operation reads, if it is constant."""
    node = port.get_source_output().get_node()
    if node.get_type_name() == "Reshape":  # of a bias
        node = node.input_value(0).get_node()
    return node.data if node.get_type_name() == "Constant" else None


def convolution(planes: ov.Output, kernel: ov.Output) -> ov.Output:
    """Return a convolution of `planes` without padding."""
    return ops.convolution(planes, kernel, [1, 1], [0, 0], [0, 0], [1, 1]).output(0)


def in_bytes(values: ov.Output, white: np.float32 = WHITE) -> ov.Output:
    """Return `values` rounded to the 256 levels from BLACK to `white`."""
    return quantised(values, BLACK, white, 256)


def in_int8(weights: Floats, end: Floats | np.float32) -> ov.Output:
    """Return `weights` rounded to the levels of int8 from -`end` to `end`."""
    return quantised(ops.constant(weights).output(0), -end, end, 2 * INT8 + 1)


def quantised(values: ov.Output, low: Floats | np.float32, high: Floats | np.float32, levels: int) -> ov.Output:
    """Return `values` rounded to so many levels from `low` to `high`."""
    ends = [ops.constant(end) for end in (low, high)]
    return ops.fake_quantize(values, *ends, *ends, levels).output(0)


def readers(node: ov.Node) -> list[ov.Node]:
    """Return the operations that read what `node` makes."""
    return [port.get_node() for port in node.output(0).get_target_inputs()]


def is_picture(node: ov.Node) -> bool:
    """Return whether it makes planes of a picture's bytes, for convolutions with constant kernels and nothing else."""
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
    """Return `kernel` [O, I, h, w] as whole numbers up to INT8, and the steps [O, 1, 1, 1] that they count.

    Of a kernel that interpolates the sum is a whole number of steps.
    """
    step = np.maximum(np.abs(kernel).max((1, 2, 3), keepdims=True), np.finfo(np.float32).tiny) / INT8
    total = np.abs(kernel.sum((1, 2, 3), keepdims=True))
    count = np.floor(total / step)
    step = np.where(count > INT8, total / np.maximum(count, 1), step)  # coarser by less than one in INT8
    return error_aware_rounding(kernel, step), step.astype(np.float32)


def error_aware_rounding(kernel: Floats, step: NDArray[np.floating[Any]] | np.float32) -> Floats:
    """Return `kernel` [O, I, h, w] in whole numbers of `step`, up to INT8, that do photographs the least harm.

    Neighbours are much alike, so that errors of equal sign add up: a flat area would come out lighter or darker. From
    the nearest numbers on, that which lessens the squared error of what comes out most goes up or down by one, until
    none does.
    """
    exact = (kernel / step).reshape(len(kernel), -1).astype(np.float64)
    moments, whole, every = patch_covariance(*kernel.shape[1:]), np.round(exact), np.arange(len(exact))
    least = moments[0, 0] * 1e-6  # or two that are as good would change places for ever
    while True:
        slope = (whole - exact) @ moments
        step_sign = -np.sign(slope)
        gain = np.where(np.abs(whole + step_sign) > INT8, 0, 2 * np.abs(slope) - np.diag(moments))
        if gain.max() <= least:
            return whole.reshape(kernel.shape).astype(np.float32)
        best = gain.argmax(1)
        whole[every, best] += np.where(gain[every, best] > least, step_sign[every, best], 0)


def patch_covariance(colours: int, height: int, width: int) -> NDArray[np.float64]:
    """Return the mean product of each two values of a patch [colours, height, width] of a photograph, flat.

    Correlation falls by a constant factor a pixel (Jain, Fundamentals of Digital Image Processing, 1989, 2.9).
    """
    y, x = np.indices((height, width)).reshape(2, -1)
    near = NEIGHBOUR_CORRELATION ** np.hypot(y[:, None] - y, x[:, None] - x)
    same = np.where(np.eye(colours), 1, COLOUR_CORRELATION)
    return np.asarray(np.kron(same, near) * PHOTO_DEVIATION**2 + PHOTO_MEAN**2, np.float64)
