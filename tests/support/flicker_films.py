"""Films whose flicker is known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

from engines.base import Image

SIZE = (96, 64)


def grey(level: float | np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Image:
    width, height = SIZE
    plane = np.broadcast_to(np.asarray(np.round(level), np.uint8), (height, width))
    return np.repeat(plane[..., None], 3, 2)


def noisy(count: int, sigma: float = 3.0) -> list[Image]:
    """Grey with noise of its own in each frame."""
    random = np.random.default_rng(0)
    return [grey(128 + random.normal(0, sigma, SIZE[::-1])) for _ in range(count)]


def film(path: Path, frames: list[Image]) -> Path:
    """Lossless, in RGB: what is read is what was written."""
    with av.open(str(path), "w") as container:
        stream = cast("VideoStream", container.add_stream("libx264rgb", rate=30, options={"qp": "0"}))
        stream.width, stream.height, stream.pix_fmt = *SIZE, "rgb24"
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, "bgr24")
            frame.pts, frame.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
