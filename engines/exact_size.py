"""Pictures of exactly the size that was asked for, where no network makes it: the arithmetic, and a resize on the host.

No engine does it in its graph. TensorRT's resize does not smooth what it makes smaller. OpenVINO's does (Interpolate in
the modes of Pillow), but of 1280x720 it makes 960x540 in 90 to 210 ms of a processor's time, and OpenCV's mean over
areas in 5 ms (two virtual cores of an Intel Xeon, OpenVINO 2026, least of eight). Triton serves whole scales.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from engines.base import Engine, Image, Slot, stages
from engines.bicubic import enlarge
from engines.slot_engine import SlotEngine
from engines.support.event_log import log_event

log = logging.getLogger(__name__)


def fitted_size(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """Return the largest even (width, height) inside `box` with the aspect ratio of `size`, as near as even numbers go.

    All are in pixels; `box` is at least 2x2.
    """
    room = box[0] // 2 * 2, box[1] // 2 * 2
    factor = min(room[0] / size[0], room[1] / size[1])
    return min(_even(factor * size[0]), room[0]), min(_even(factor * size[1]), room[1])


def scaled_size(size: tuple[int, int], factor: float) -> tuple[int, int]:
    """Return `size` (width, height) times `factor`, rounded to even numbers."""
    return _even(factor * size[0]), _even(factor * size[1])


def _even(value: float) -> int:
    return max(2, 2 * round(value / 2))


def next_scale(scales: Iterable[int], size: tuple[int, int], output: tuple[int, int]) -> int:
    """Return the smallest of `scales` that makes of `size` at least `output`; the largest one if none does.

    A pixel that rounding to even numbers has added does not count.
    """
    ordered = sorted(scales)
    fits = (s for s in ordered if all(s * side >= wanted - 1 for side, wanted in zip(size, output, strict=True)))
    return next(fits, ordered[-1])


class ResizedSlot:
    """Another slot, whose picture is resized into a buffer of this one: the one that is drawn into and shown."""

    def __init__(self, slot: Slot, size: tuple[int, int]) -> None:
        """Take over `slot`, which is closed with this one; `size` is the (width, height) wanted."""
        self._slot, self._placed = slot, False
        self._output: Image = np.empty((size[1], size[0], 3), np.uint8)
        self._resize_s = 0.0
        self.input: Image = slot.input
        self.finished = 0.0

    @property
    def stages(self) -> Mapping[str, float]:
        """Those of the slot that was taken over, and the resize."""
        return {**stages(self._slot), "resize": self._resize_s}

    def place(self, input: Image, output: Image) -> bool:
        """Take pictures from `input` and resize them into `output` from now on (engines.worker)."""
        self.input, self._output, self._placed = input, output, True
        return True

    def launch(self, image: Image) -> None:
        """Copy `image`, uint8 [H, W, 3], and start the work; see engines.base.Slot. Raises EngineError."""
        self._slot.launch(image)
        if not self._placed:
            self.input = self._slot.input

    def wait(self, timeout: float) -> Image:
        """Return the resized result; see engines.base.Slot. Raises TimeoutError, EngineError."""
        image = self._slot.wait(timeout)
        began = time.monotonic()
        enlarge(image, self._output)
        self._resize_s = time.monotonic() - began
        self.finished = self._slot.finished + self._resize_s
        return self._output

    def close(self) -> None:
        """Close the slot that was taken over."""
        self._slot.close()


def resized(engine: Engine[Any], output: tuple[int, int] | None) -> Engine[Any]:
    """Return `engine`, whose pictures come in the size `output` (width, height) if they have another one.

    With None they stay as they are. What is returned takes the place of `engine`, which must not be used any more.
    """
    if output in (None, engine.spec.output):
        return engine
    assert output is not None
    assert isinstance(engine, SlotEngine)  # as all of a backend's are
    message = "%(engine)s makes %(output)s, which is resized to %(wanted)s on the host"
    network_output, wanted = ("{}x{}".format(*size) for size in (engine.spec.output, output))
    log_event(
        log, logging.INFO, "output_resized", message, engine=engine.spec.name, output=network_output, wanted=wanted
    )
    return engine.rewrapped(replace(engine.spec, output=output), lambda slot: ResizedSlot(slot, output))
