"""Reads what an .onnx file says about itself, without the package onnx, which running a model does not need."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

# onnx/onnx.proto: ModelProto.metadata_props, and the fields of its entries.
METADATA, KEY, VALUE = 14, 1, 2
GRAPH = 7
"""ModelProto.graph: the network, megabytes that nobody here wants a copy of."""

Bytes = bytes | mmap.mmap


def properties(path: Path) -> dict[str, str]:
    """Return the metadata of a model, such as {"scale": "2", "parameters": "12964"}; {} of a file that is none.

    Only the fields' lengths are read, not the network between them.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            entries = [dict(fields(entry)) for number, entry in fields(data) if number == METADATA]
        return {entry[KEY].decode(): entry[VALUE].decode() for entry in entries}
    except (OSError, ValueError, IndexError, KeyError):
        return {}


def fields(data: Bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each field that has a length (protobuf.dev, "Encoding"); others are passed over.

    Raises ValueError or IndexError where `data` is no such message.
    """
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            _, at = varint(data, at)
        elif kind in (1, 5):
            at += {1: 8, 5: 4}[kind]
        elif kind == 2:
            length, at = varint(data, at)
            if length > len(data) - at:
                raise ValueError("a field is longer than what holds it")
            yield number, data[at : at + length] if number != GRAPH else b""
            at += length
        else:
            raise ValueError(f"there is no kind {kind} of field")


def varint(data: Bytes, at: int) -> tuple[int, int]:
    """Return the number at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number has no end")
