"""Triton Inference Server, on this host or across a network: frames in flight at one server, or at several.

Pictures travel in system shared memory (the server on this host), in CUDA shared memory (the same with a discrete
GPU), raw, or as JPEG files that the served model NAME-jpeg decodes and encodes on the server.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from engines.base import Spec
from engines.errors import EngineError
from engines.slot_engine import SlotEngine
from engines.triton.address import Address, parse
from engines.triton.client import TritonClient, TritonOptions
from engines.triton.load_balancer import balanced
from engines.triton.slots import make_slots

SERVER_DRAIN_TIMEOUT_S = 0.5
"""Seconds to wait at the end for a frame that is under way. What comes later ends in memory that is still there."""


def connect(
    server: str, address: Address, size: tuple[int, int], *, depth: int, options: TritonOptions, deadline: float
) -> SlotEngine[Any]:
    """An engine over one server of `address`, for inputs of `size` (width, height). Raises EngineError."""
    connection = TritonClient(server, address, size, options)
    try:
        slots, way = make_slots(connection, depth, deadline)
        blank = np.zeros((size[1], size[0], 3), np.uint8)
        for slot in slots:  # so that what does not work is told now, and the first frame finds all buffers in place
            slot.launch(blank)
            slot.wait(deadline)
    except BaseException as error:
        connection.close()
        if isinstance(error, TimeoutError):
            facts = f"a blank frame took more than {deadline:g} s"
            raise EngineError(f"The Triton server {server} is too slow", facts, "Look at its load.") from None
        raise
    precision = re.search(r"-(fp16|int8)$", address.model)
    spec = Spec(
        name="triton",
        device=f"{server}, {way}",
        model=address.model,
        precision=precision[1] if precision else "fp32",
        scale=connection.scale,
        input=size,
        output=connection.output,
    )
    return SlotEngine(spec, slots, deadline=deadline, parting=SERVER_DRAIN_TIMEOUT_S, close=connection.close)


def load(
    text: str, size: tuple[int, int], *, depth: int, options: TritonOptions, patience: float | None
) -> SlotEngine[Any]:
    """An engine at triton://HOST:PORT[,...]/MODEL. Raises EngineError.

    `patience`: seconds after which nobody waits for a frame any more; None: somebody always does.
    """
    address = parse(text)
    # The server drops what it has not begun by then; with frames queueing behind one another that is not yet late.
    deadline = 4 * patience if patience else 30.0

    def one(server: str) -> SlotEngine[Any]:
        return connect(server, address, size, depth=depth, options=options, deadline=deadline)

    if len(address.servers) == 1:
        return one(address.servers[0])
    members = {server: lambda server=server: one(server) for server in address.servers}
    return balanced(members, depth, late=patience / 2 if patience else deadline / 4, parting=SERVER_DRAIN_TIMEOUT_S)
