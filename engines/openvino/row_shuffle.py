"""Lets a graph of OpenVINO's read and write a picture by rows of bytes; every byte stays the same.

A picture comes as rows of pixels, and the edges that a network gives it are cheapest to add while they are bytes.

A sub-pixel network ends in s * s values for each pixel and colour, and DepthToSpace moves them to their places one by
one, which takes a processor longer than a convolution does. What belongs to one of the s rows that a row of the input
becomes can be moved as one piece instead: the last convolutions are cut into s groups of output channels, each of which
makes whole rows with channels last, which is how processors compute. Nothing is left but to copy those. Channels that
are computed alike, as a detail that all colours get, are computed once for all groups (SharedChannels).

Beside one picture of all channels whose pieces were gathered or its axes exchanged, this was the quickest way for every
shipped network, and for fast-x2-int8 by 1.1 times and more too where oneDNN was limited to AVX2, AVX2 with VNNI,
or AVX-512 with VNNI (two cores of an AMD EPYC). With AMX it has not been measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops
from openvino.utils import replace_node
from openvino.utils.node_factory import NodeFactory

BEGINNING = ["Convert", "Transpose", "Pad"]
"""A model's first operations, where it gives the picture edges before its first convolution."""
ENDING = ["Convert", "Transpose", "DepthToSpace"]
"""A model's last operations, the very last one first, where it keeps to the contract and ends in sub-pixels."""
ELEMENTWISE = {"Add", "Subtract", "Multiply", "Maximum", "Minimum", "Round", "Convert"}
CHANNELS, OUTPUTS, ONLY = -3, -4, -1
"""Axes, counted from the last: a picture's channels, a convolution's output channels, a plain list's."""


class InseparableError(Exception):
    """An operation whose channels cannot be computed apart."""


class ChannelSlice:
    """Copies of operations that compute some of their channels and no others."""

    def __init__(self, channels: NDArray[np.int64], alike: SharedChannels | None = None) -> None:
        """`channels`: the numbers of those to be computed; `alike`: where those that are computed alike are shared."""
        self._channels, self._alike = channels, alike
        self._factory = NodeFactory("opset13")
        self._copies: dict[tuple[str, int], ov.Output] = {}

    def of(self, output: ov.Output, axis: int = CHANNELS) -> ov.Output:
        """Return `output` with only these channels along `axis`. Raises InseparableError."""
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
            shared = self._alike.of(inputs, self._channels) if self._alike and kind == "Add" else {}
            inputs = [shared.get(number) or self.of(each, axis) for number, each in enumerate(inputs)]
        else:
            raise InseparableError(kind)
        return self._factory.create(kind, inputs, node.get_attributes())


class SharedChannels:
    """Channels that are computed alike: they are computed once, and each group takes copies.

    Only those of a picture that is added to another one: it is handed over in 16 bits in any case, where the processor
    has those, and what the picture itself is made of is not.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._found: dict[str, tuple[ov.Output, NDArray[np.int64]] | None] = {}

    def of(self, summands: Sequence[ov.Output], channels: NDArray[np.int64]) -> dict[int, ov.Output]:
        """Return these `channels` of that summand, by its number, of whose channels at most half are different."""
        if any(math.prod(each.get_shape()[CHANNELS + 1 :]) == 1 for each in summands):
            return {}  # what is added is no picture
        found = {number: once for number, each in enumerate(summands) if (once := self._once(each))}
        return {
            number: broadcast_channels(few, numbers[channels])
            for number, (few, numbers) in found.items()
            if len(found) == 1
        }

    def _once(self, summand: ov.Output) -> tuple[ov.Output, NDArray[np.int64]] | None:
        """The different channels, and of each channel of `summand` the number of its own among them."""
        name = summand.get_node().get_name()
        if name not in self._found:
            numbers = identical_channels(summand)
            first = np.unique(numbers, return_index=True)[1]
            worth = 2 * len(first) <= len(numbers)
            self._found[name] = (ChannelSlice(first).of(summand), numbers) if worth else None
        return self._found[name]


def broadcast_channels(picture: ov.Output, channels: NDArray[np.int64]) -> ov.Output:
    """Return these `channels` of a picture, some of them several times.

    By a convolution with ones and zeros, which changes no value: what is to be added can be added on its way.
    """
    kernel = np.eye(picture.get_shape()[CHANNELS])[channels, :, None, None]
    constant = ops.constant(kernel, picture.get_element_type())
    return ops.convolution(picture, constant, [1, 1], [0, 0], [0, 0], [1, 1]).output(0)


def identical_channels(output: ov.Output, axis: int = CHANNELS) -> NDArray[np.int64]:
    """Return a number for each channel of `output` along `axis`: the same one for those that are computed alike."""
    shape, node = list(output.get_shape()), output.get_node()
    if len(shape) < -axis or shape[axis] == 1:
        return np.zeros(1, np.int64)
    kind, inputs = node.get_type_name(), [port.get_source_output() for port in node.inputs()]
    if kind == "Constant":
        rows = np.moveaxis(node.data, axis, 0).reshape(shape[axis], -1)
        return np.asarray(np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1), np.int64)
    if kind == "Reshape" and len(inputs[0].get_shape()) == 1:
        return identical_channels(inputs[0], ONLY)
    if kind == "Convolution" and axis == CHANNELS:
        return identical_channels(inputs[1], OUTPUTS)
    if kind in ELEMENTWISE:
        each = [np.broadcast_to(identical_channels(values, axis), shape[axis]) for values in inputs]
        return np.unique(each, axis=1, return_inverse=True)[1].reshape(-1)
    return np.arange(shape[axis])


def apply(model: ov.Model) -> bool:
    """Let a model pad bytes and put its picture together by rows.

    `model` has a static shape and keeps to engines/catalog/contract.py. Returns False, and has left its ending as it
    was, if it does not end in sub-pixels or its ending cannot be computed apart.
    """
    pad_before_convert(model)
    return split_depth_to_space(model)


def pad_before_convert(model: ov.Model) -> bool:
    """Let a model repeat the bytes at a picture's edges and not the numbers that it makes of them.

    They stay in the order in which they came then, which is that of the convolutions. Returns False, and has changed
    nothing, if it does not begin with that.
    """
    nodes, frame = [], model.input(0)
    output = frame
    for kind in BEGINNING:
        readers = [port.get_node() for port in output.get_target_inputs()]
        if [node.get_type_name() for node in readers] != [kind]:
            return False
        nodes += readers
        output = nodes[-1].output(0)
    convert, transpose, pad = nodes
    how = [port.get_source_output().get_node() for port in (transpose.input(1), pad.input(1), pad.input(2))]
    if pad.get_attributes()["pad_mode"] != "edge" or any(node.get_type_name() != "Constant" for node in how):
        return False
    order, before, after = (node.data for node in how)
    places = np.argsort(order)  # of the picture's axes among those that Pad sees
    edged = ops.pad(frame, before[places], after[places], "edge")
    replace_node(pad, ops.transpose(ops.convert(edged, convert.get_element_type()), order))
    return True


def split_depth_to_space(model: ov.Model) -> bool:
    """Let a model compute row by row; returns what apply() does."""
    ending = [model.output().get_node().input_value(0).get_node()]
    while ending[-1].get_type_name() == ENDING[len(ending) - 1] and len(ending) < len(ENDING):
        ending.append(ending[-1].input_value(0).get_node())
    if [node.get_type_name() for node in ending] != ENDING:
        return False
    convert, transpose, shuffle = ending
    shape = list(convert.get_output_shape(0))
    order, values, alike, rows = transpose.input_value(1), shuffle.input_value(0), SharedChannels(), []
    try:
        for channels in groups(shuffle, shape[-1]):
            pixels = ops.transpose(ChannelSlice(channels, alike).of(values), order)
            row = ops.convert(pixels, convert.get_element_type())
            rows.append(ops.reshape(row, [-1, 1, shape[-2] * shape[-1]], False))
    except InseparableError:
        return False
    picture = ops.reshape(ops.concat(rows, 1), shape, False)
    picture.set_friendly_name(convert.get_friendly_name())
    replace_node(convert, picture)
    return True


def groups(shuffle: ov.Node, colours: int) -> NDArray[np.int64]:
    """Return the channels of a DepthToSpace that make up each row, in the order of its bytes: [s, s * colours]."""
    attributes = shuffle.get_attributes()
    scale = attributes["block_size"]
    channels: NDArray[np.int64] = np.arange(scale * scale * colours)
    if attributes["mode"] == "depth_first":
        channels = channels.reshape(colours, scale, scale).transpose(1, 2, 0)
    return channels.reshape(scale, scale * colours)
