"""Drives the TensorRT engine over a lazy CUDA: one thread, in an order that somebody chooses."""

from __future__ import annotations

import functools
import mmap
import random
from typing import Any

import numpy as np

from engines.base import Image, Strength
from engines.catalog import shipped as catalog
from engines.cuda.slot import CLOSE_TIMEOUT_S, CudaSlot
from engines.errors import EngineError
from engines.isolation.protocol import frame_bytes, frame_views
from engines.request import EngineRequest, TensorRtOptions
from engines.tensorrt import engine as tensorrt_engine
from tests.fakes.cuda import Choose, Machine, install
from tests.fakes.tensorrt import compiled

MODEL, SIZE = "fast-x2-fp32", (16, 16)
FRAMES = 7


def chosen(content: bytes) -> Choose:
    """Choices by the bytes of `content`; when they are used up, by a generator that they seed."""
    left, after = list(content), random.Random(content)
    return lambda count: left.pop(0) % count if left else after.randrange(count)


STRENGTHS = (1.0, 0.0, 0.5, 2.0)


@functools.cache
def pictures(strength: float = 1.0) -> list[tuple[Image, Image]]:
    """Frames, and what the network makes of each at that strength."""
    run, _ = compiled(str(catalog.find(MODEL)), SIZE)
    frames = [np.random.default_rng(i).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8) for i in range(FRAMES)]
    factor = np.float32(strength).tobytes()
    return [(frame, run(frame.tobytes(), factor).reshape(2 * SIZE[1], 2 * SIZE[0], 3)) for frame in frames]


def drive(patch: Any, choose: Choose, *, close_timeout: float = CLOSE_TIMEOUT_S) -> Machine:
    """A whole life of an engine, with one way of doing things chosen after the other. Raises AssertionError.

    `close_timeout`: seconds that work which never ends is waited for.
    """
    machine = Machine(choose, integrated=bool(choose(2)), capturable=choose(4) > 0)
    install(patch, machine)
    sample_every = (1, 2, 32)[choose(3)]
    depth, leave_after = 1 + choose(3), (FRAMES, FRAMES, 3, 0)[choose(4)]
    options = TensorRtOptions(profile=choose(8) == 0)
    request = EngineRequest("tensorrt", MODEL, SIZE, depth=depth, tensorrt=options)
    strength = Strength()
    with tensorrt_engine.load(request, strength=strength) as engine:
        for index in range(depth):
            slot = engine.slot(index)
            assert isinstance(slot, CudaSlot)
            slot.sample_every, slot.close_timeout = sample_every, close_timeout
        if choose(2):
            place(engine, depth, machine)
        if choose(3) == 0:
            machine.refuse = machine.inferences + 1 + choose(2)
        try:
            collected = frames_through(engine, depth, leave_after, choose, strength)
        except EngineError as error:
            assert machine.refuse and "has refused a frame" in error.problem, error
            collected = 0
        if machine.capturable and sample_every == 32 and collected == FRAMES:
            assert machine.graph_launches == FRAMES, "graphs were not used"
    check_clean(machine)
    return machine


def place(engine: Any, depth: int, machine: Machine) -> None:
    """Let it work in memory that it shares with another process, as engines.worker does; or find that it cannot."""
    machine.registers = machine.choose(4) > 0
    shared = frame_views(mmap.mmap(-1, depth * sum(frame_bytes(engine.spec))), engine.spec, depth)
    for index, (image, output) in enumerate(shared):
        slot = engine.slot(index)
        assert slot.place(image, output) == machine.registers
        assert np.shares_memory(slot.input, image) == machine.registers


def frames_through(engine: Any, depth: int, leave_after: int, choose: Choose, strength: Strength) -> int:
    submitted = collected = borrowed = 0
    strengths: list[float] = []  # of each frame, as it was when it was launched
    while collected < leave_after:
        flying = submitted - collected
        if submitted < FRAMES and flying + borrowed < depth and (flying == 0 or choose(3) > 0):
            engine.reserve()
            strength.value = STRENGTHS[choose(len(STRENGTHS))]
            engine.submit(pictures()[submitted][0], submitted)
            strengths.append(strength.value)
            strength.value = STRENGTHS[choose(len(STRENGTHS))]  # too late for this one
            submitted += 1
            continue
        borrowed = 0
        try:
            done = engine.collect(5 if flying else 0)
        except TimeoutError:
            assert not flying, "a frame never comes"
            continue
        borrowed = 1
        assert done is not None and done[1] == collected
        assert (done[0] == pictures(strengths[collected])[collected][1]).all(), f"frame {collected} is wrong"
        done[0][:] = 77  # a sink may draw into it
        collected += 1
    return collected


def check_clean(machine: Machine) -> None:
    """Nothing went wrong unseen, and everything was given back."""
    assert not machine.faults, machine.faults
    assert not machine.memories, "memory was left behind"
    assert not machine.graphs and not machine.engines and not machine.stack
