"""Rows: a picture put together from whole rows, in a graph of OpenVINO's; its bytes stay the same.

A sub-pixel network ends in s * s values for each pixel and colour, and DepthToSpace moves them to their places one by
one, which takes a processor longer than a convolution does. Here the last convolutions are cut into s groups of output
channels instead, one for each of the s rows that a row of the input becomes. With channels last, which is how
processors compute, a group's result is such a row as it has to lie, and nothing is left but to copy whole rows.
"""

from __future__ import annotations

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops
from openvino.utils import replace_node
from openvino.utils.node_factory import NodeFactory

LEAST = 3
"""The scale from which it pays: 0.97 to 1.6 times as fast; at 2, 0.85 to 1.1 (an Intel Xeon with AMX and without)."""
ENDING = ["Convert", "Transpose", "DepthToSpace"]
"""A model's last operations, the very last one first, where it keeps to engines/contract.py and ends in sub-pixels."""
ELEMENTWISE = {"Add", "Subtract", "Multiply", "Maximum", "Minimum", "Round", "Convert"}
CHANNELS, OUTPUTS, ONLY = -3, -4, -1
"""Axes, counted from the last: a picture's channels, a convolution's output channels, a plain list's."""


class InseparableError(Exception):
    """There is an operation of which channels cannot be computed apart."""


class Group:
    """Copies of operations that compute some of their channels and no others."""

    def __init__(self, channels: NDArray[np.int64]) -> None:
        self._channels = channels
        self._factory = NodeFactory("opset13")
        self._copies: dict[tuple[str, int], ov.Output] = {}

    def of(self, output: ov.Output, axis: int = CHANNELS) -> ov.Output:
        """`output` with these channels of it, along `axis`, alone. Raises InseparableError."""
        shape, node = output.get_partial_shape(), output.get_node()
        if len(shape) < -axis or shape[len(shape) + axis] == 1:
            return output  # the same for all channels
        key = node.get_name(), axis
        if key not in self._copies:  # what two operations read is computed once
            self._copies[key] = self._copy(node, axis).output(0)
        return self._copies[key]

    def _copy(self, node: ov.Node, axis: int) -> ov.Node:
        kind, inputs = node.get_type_name(), [port.get_source_output() for port in node.inputs()]
        if kind == "Constant":
            return ops.constant(np.take(node.data, self._channels, axis))
        if kind == "Reshape" and len(inputs[0].get_partial_shape()) == 1:  # a bias or a scale for each channel
            shape = list(node.get_output_shape(0))
            shape[axis] = len(self._channels)
            return ops.reshape(self.of(inputs[0], ONLY), shape, False)
        if kind == "Convolution" and axis == CHANNELS:
            inputs[1] = self.of(inputs[1], OUTPUTS)
        elif kind in ELEMENTWISE:
            inputs = [self.of(each, axis) for each in inputs]
        else:
            raise InseparableError(kind)
        return self._factory.create(kind, inputs, node.get_attributes())


def apply(model: ov.Model) -> None:
    """cut(), where it pays."""
    if model.output().get_shape()[1] >= LEAST * model.input().get_shape()[1]:
        cut(model)


def cut(model: ov.Model) -> bool:
    """Let a model of static shape, which keeps to engines/contract.py, compute whole rows.

    Returns False, and has changed nothing, if it does not end in sub-pixels or its ending cannot be cut.
    """
    ending = [model.output().get_node().input(0).get_source_output().get_node()]
    while ending[-1].get_type_name() == ENDING[len(ending) - 1] and len(ending) < len(ENDING):
        ending.append(ending[-1].input(0).get_source_output().get_node())
    if [node.get_type_name() for node in ending] != ENDING:
        return False
    convert, transpose, shuffle = ending
    order, values = transpose.input(1).get_source_output(), shuffle.input(0).get_source_output()
    _, height, width, colours = convert.get_output_shape(0)
    try:
        parts = [Group(channels).of(values) for channels in groups(shuffle, colours)]
    except InseparableError:
        return False
    rows = [ops.convert(ops.transpose(part, order), convert.get_element_type()) for part in parts]
    apart = [ops.reshape(row, [1, height // len(rows), 1, width * colours], False) for row in rows]
    picture = ops.reshape(ops.concat(apart, 2), [1, height, width, colours], False)
    picture.set_friendly_name(convert.get_friendly_name())
    replace_node(convert, picture)
    return True


def groups(shuffle: ov.Node, colours: int) -> NDArray[np.int64]:
    """The channels of a DepthToSpace that make up each row, in the order of its bytes: [s, s * colours]."""
    attributes = shuffle.get_attributes()
    scale = attributes["block_size"]
    channels: NDArray[np.int64] = np.arange(scale * scale * colours)
    if attributes["mode"] == "depth_first":
        channels = channels.reshape(colours, scale, scale).transpose(1, 2, 0)
    return channels.reshape(scale, scale * colours)
