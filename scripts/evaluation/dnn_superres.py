"""Run one network in OpenCV's dnn_superres, in a process and an environment of its own.

scripts/evaluation/peers.py starts it:

  python dnn_superres.py FILE.pb NAME SCALE THREADS

It reads commands from standard input, one per line, and answers each on standard output:

  upscale H W   followed by the bytes of uint8 [H, W, 3] BGR: a line H W, and the bytes of the result
  time COUNT    milliseconds a frame, for the last picture COUNT times over

It imports nothing but NumPy and OpenCV, as its environment has nothing else.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def main(file: str, name: str, scale: str, threads: str) -> None:
    """Load the network and answer commands until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what OpenCV prints must not come between the answers
    cv2.setNumThreads(int(threads))
    network: Any = cv2.dnn_superres.DnnSuperResImpl_create()  # type: ignore[attr-defined, unused-ignore] # contrib's
    network.readModel(file)
    network.setModel(name, int(scale))
    picture: NDArray[np.uint8] = np.zeros((16, 16, 3), np.uint8)
    for line in sys.stdin.buffer:
        match line.split():
            case [b"upscale", height, width]:
                shape = int(height), int(width), 3
                picture = np.frombuffer(sys.stdin.buffer.read(shape[0] * shape[1] * 3), np.uint8).reshape(shape)
                result = np.ascontiguousarray(network.upsample(picture))
                answers.write(b"%d %d\n" % result.shape[:2] + result.tobytes())
            case [b"time", count]:
                begun = time.perf_counter()
                for _ in range(int(count)):
                    network.upsample(picture)
                answers.write(b"%r\n" % ((time.perf_counter() - begun) * 1000 / int(count)))
            case _:
                sys.exit(f"unknown command {line!r}")
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
