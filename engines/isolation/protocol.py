"""What this process and an engine's child process say to each other, and how frames lie in their shared memory.

The parent sends the request as JSON; the child answers with progress, an error or the engine's Spec; the parent sends
b"go" once the memory has its size. From then on the parent sends a LAUNCH_MESSAGE for each frame, and the child an
ANSWER.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from engines.base import Condition, EngineState, Image, Spec
from engines.support.pages import whole_pages

LAUNCH_MESSAGE = struct.Struct("<Hf")
"""The number of the slot to launch, and the strength (engines.base.Strength) of its frame."""
ANSWER = struct.Struct("<id")
"""The child's answer: a slot number; when it was finished (time.monotonic()). Behind it, for each stage that the slot
tells of, a STAGE_TIME; or, with -1 - number, an error's parts as JSON."""
STAGE_TIME = struct.Struct("<24sd")
"""A stage's name in UTF-8, filled up with zeros, and the seconds it took. Three of them cost a frame 1 us to write and
1 us to read; JSON would cost three times that."""


def frame_bytes(spec: Spec) -> tuple[int, int]:
    """Return the bytes that an input and an output take in the shared memory: whole pages."""
    taken, given = (whole_pages(3 * width * height) for width, height in (spec.input, spec.output))
    return taken, given


def frame_views(memory: mmap.mmap, spec: Spec, depth: int) -> list[tuple[Image, Image]]:
    """Return the input and output of each slot in the shared memory, uint8 [H, W, 3]; they keep the memory mapped."""
    views, offset = [], 0
    for _ in range(depth):
        pair = []
        for (width, height), size in zip((spec.input, spec.output), frame_bytes(spec), strict=True):
            image: Image = np.frombuffer(memory, np.uint8, 3 * width * height, offset).reshape(height, width, 3)
            pair.append(image)
            offset += size
        views.append((pair[0], pair[1]))
    return views


def spec_to_json(spec: Spec) -> dict[str, Any]:
    """Return `spec` as spec_from_json() takes it."""
    return asdict(spec) | {"state": [spec.state.condition.value, spec.state.reason]}


def spec_from_json(values: Mapping[str, Any]) -> Spec:
    """Return the Spec that spec_to_json() was given."""
    condition, reason = values["state"]
    sizes = {key: tuple(values[key]) for key in ("input", "output")}
    return Spec(**{**values, **sizes, "state": EngineState(Condition(condition), reason)})
