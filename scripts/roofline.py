#!/usr/bin/env python3
"""Predict what each Jetson should reach with each shipped model.

  python scripts/roofline.py [--write FILE.md]

The roofline model (Williams, Waterman, Patterson, CACM 52(4), 2009), one convolution after the other:

    time = sum over convolutions of max(operations / peak rate, bytes / bandwidth)

A convolution reads its input once and writes its output once, with channels padded to what a tensor core takes (16; 32
for int8); everything between two convolutions is fused into them; the frame is read and the result written once more.
Nothing is measured here: launch times, falling clocks and memory shared with camera and screen make it slower, caches
that hold a whole layer make it faster.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import onnx
from onnx import TensorProto

from engines.catalog import shipped as catalog
from engines.errors import UserError
from scripts.common import results

ROOFLINE_SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080)}
TABLE_BEGIN, TABLE_END = "<!-- scripts/roofline.py begins -->", "<!-- scripts/roofline.py ends -->"


class RooflineError(UserError):
    """There is no page to write the table into."""


@dataclass(frozen=True)
class Board:
    """Published figures: dense tensor rate in 10^12 operations a second, memory in 10^9 bytes a second."""

    name: str
    fp16: float
    bandwidth: float
    source: str

    def peak(self, precision: str) -> float:
        """Return operations a second. int8 is twice fp16; fp32 runs as TF32, at half of it."""
        return self.fp16 * 1e12 * {"int8": 2.0, "fp16": 1.0, "fp32": 0.5}[precision]


BOARDS = [
    Board(
        "Orin Nano Super 8 GB",
        17,
        102,
        "17 TFLOPS dense fp16, 102 GB/s: NVIDIA, Jetson Orin Nano Developer Kit Gets a Super Boost (2024)",
    ),
    Board(
        "Orin NX 16 GB",
        19.2,
        102.4,
        "8 multiprocessors at 1.173 GHz in MAXN_SUPER, 2,048 fp16 operations a clock each (77 of the published 157 "
        "sparse int8 TOPS; 80 are the DLAs'), 102.4 GB/s: NVIDIA, Jetson Orin NX Series data sheet",
    ),
    Board(
        "AGX Orin 64 GB",
        42.5,
        204.8,
        "170 sparse int8 TOPS of the GPU, a quarter of it dense fp16, 204.8 GB/s: NVIDIA, Jetson AGX Orin Series "
        "Technical Brief 1.2",
    ),
    Board(
        "AGX Thor (T5000)",
        258.75,
        273,
        "2,070 sparse fp4 TFLOPS, an eighth of it dense fp16, 273 GB/s: NVIDIA, Jetson Thor Series Modules data sheet",
    ),
]


@dataclass(frozen=True)
class Convolution:
    """The cost of one convolution for each pixel of the input frame."""

    operations: float
    inputs: int
    outputs: int


def padded_channels(channels: int, precision: str) -> int:
    """Return the number of channels as they lie in memory."""
    step = 32 if precision == "int8" else 16
    return -(-channels // step) * step


def convolutions(path: Path, precision: str) -> list[Convolution]:
    """Return the convolutions of a shipped model, all of which run at the input's resolution."""
    model = onnx.load(path)
    shapes = {constant.name: tuple(constant.dims) for constant in model.graph.initializer}
    by_output = {node.output[0]: node for node in model.graph.node}
    found = []
    for node in model.graph.node:
        if node.op_type == "Conv":
            weight = node.input[1]
            while weight not in shapes:  # behind its quantisation
                weight = by_output[weight].input[0]
            outputs, inputs, height, width = shapes[weight]
            inputs, outputs = padded_channels(inputs, precision), padded_channels(outputs, precision)
            found.append(Convolution(2.0 * height * width * inputs * outputs, inputs, outputs))
    return found


def precision_of(path: Path) -> str:
    """Return int8, fp16 or fp32, as the graph shows it."""
    nodes = onnx.load(path).graph.node
    if any(node.op_type == "QuantizeLinear" for node in nodes):
        return "int8"
    casts = [a.i for node in nodes if node.op_type == "Cast" for a in node.attribute if a.name == "to"]
    return "fp16" if TensorProto.FLOAT16 in casts else "fp32"


def seconds(board: Board, path: Path, scale: int, size: tuple[int, int]) -> tuple[float, bool]:
    """Return the time of one frame in seconds, and whether memory is the limit."""
    precision, pixels = precision_of(path), size[0] * size[1]
    item = {"int8": 1, "fp16": 2, "fp32": 4}[precision]
    computing = moving = whole = 0.0
    for convolution in convolutions(path, precision):
        compute = pixels * convolution.operations / board.peak(precision)
        move = pixels * item * (convolution.inputs + convolution.outputs) / (board.bandwidth * 1e9)
        whole += max(compute, move)
        computing, moving = computing + compute, moving + move
    frames = 3 * pixels * (1 + scale**2) / (board.bandwidth * 1e9)
    return whole + frames, moving + frames > computing


def table() -> str:
    """Return the table in Markdown, with its sources below."""
    lines = [
        "| board | model | precision | " + " | ".join(f"{name}, ms (fps)" for name in ROOFLINE_SIZES) + " | limit | |"
    ]
    lines += ["|---|---|---|" + "---:|" * len(ROOFLINE_SIZES) + "---|---|"]
    for board in BOARDS:
        for model in catalog.shipped():
            cells, bound = [], False
            for size in ROOFLINE_SIZES.values():
                time, bound = seconds(board, model.path, model.scale, size)
                cells.append(f"{time * 1000:.2f} ({1 / time:.0f})")
            limit = "memory" if bound else "arithmetic"
            row = [board.name, f"{model.name}-x{model.scale}", precision_of(model.path), *cells, limit, "*predicted*"]
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join([*lines, "", *(f"- {board.name}: {board.source}." for board in BOARDS)]) + "\n"


def page_with_table(page: Path) -> str:
    """Return the text of `page` with the table between its marks. Raises RooflineError."""
    fix = "Give a page with the markers, such as docs/performance.md."
    try:
        text = page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RooflineError(f"{page} cannot be read", str(error), fix) from None
    if TABLE_BEGIN not in text or TABLE_END not in text:
        raise RooflineError(f"{page} has no markers", f"looked for {TABLE_BEGIN} and {TABLE_END}", fix)
    return f"{text.split(TABLE_BEGIN)[0]}{TABLE_BEGIN}\n{table()}{TABLE_END}{text.split(TABLE_END)[1]}"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--write", type=Path, metavar="FILE.md", help="write the table between the markers of this file"
    )
    options = parser.parse_args(arguments)
    if options.write is None:
        print(table(), end="")
        return 0
    try:
        results.write(options.write, page_with_table(options.write))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
