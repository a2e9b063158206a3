"""Triton Inference Server, on this host or across a network: frames in flight at one server, or at several.

Pictures travel in system shared memory (the server on this host), in CUDA shared memory (the same with a discrete
GPU), raw, or as JPEG files that the served model NAME-jpeg decodes and encodes on the server.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from engines.base import Engine, Spec, Strength
from engines.catalog.resolved import resolve_served
from engines.errors import EngineError
from engines.request import EngineRequest
from engines.slot_engine import HANG_TIMEOUT_S, SlotEngine
from engines.triton.address import Address
from engines.triton.client import TritonClient
from engines.triton.load_balancer import balanced
from engines.triton.slots import make_slots

SERVER_DRAIN_TIMEOUT_S = 0.5
"""How long the end waits for a frame that is under way. What comes later ends in memory that is still there."""
TIMEOUTS_IN_FLIGHT = 4
"""A server drops a frame that it has not begun after so many frame timeouts: with frames queueing behind one another
one timeout is not yet late."""


def connect(
    server: str, address: Address, request: EngineRequest, *, hang_timeout: float, strength: Strength
) -> Engine[Any]:
    """Return an engine over one `server`, HOST:PORT, of `address`; see load(). Raises EngineError."""
    size = request.size
    connection = TritonClient(server, address, size, request.triton)
    try:
        slots, way = make_slots(connection, request.depth, hang_timeout, strength)
        blank = np.zeros((size[1], size[0], 3), np.uint8)
        for slot in slots:  # so that what does not work is found now, and the first frame finds all buffers in place
            slot.launch(blank)
            slot.wait(hang_timeout)
    except BaseException as error:
        connection.close()
        if isinstance(error, TimeoutError):
            facts = f"a blank frame took more than {hang_timeout:g} s"
            raise EngineError(f"The Triton server {server} is too slow", facts, "Look at its load.") from None
        raise
    spec = Spec(
        name="triton",
        device=f"{server}, {way}",
        model=address.model,
        precision=resolve_served(address.model, None).precision,
        scale=connection.scale,
        input=size,
        output=connection.output,
        takes_strength=slots[0].takes_strength,
    )
    return SlotEngine(
        spec, slots, hang_timeout=hang_timeout, drain_timeout=SERVER_DRAIN_TIMEOUT_S, close=connection.close
    )


def load(
    address: Address, request: EngineRequest, *, frame_timeout: float | None, strength: Strength | None = None
) -> Engine[Any]:
    """Return an engine at `address`, over one server or several.

    Args:
        address: The servers, and the model that they serve.
        request: What is wanted; size, depth and `triton` count.
        frame_timeout: Seconds after which nobody waits for a frame any more; None: somebody always does.
        strength: Sent along with each frame, to models that take one.

    Raises:
        EngineError: No server can be reached, or none serves that model for this size.
    """
    hang_timeout = TIMEOUTS_IN_FLIGHT * frame_timeout if frame_timeout else HANG_TIMEOUT_S
    connected = partial(
        connect, address=address, request=request, hang_timeout=hang_timeout, strength=strength or Strength()
    )
    loads = {server: partial(connected, server) for server in address.servers}
    if len(loads) == 1:
        return loads[address.servers[0]]()
    late = frame_timeout / 2 if frame_timeout else hang_timeout / 4
    return balanced(loads, request.depth, frame_timeout=late, drain_timeout=SERVER_DRAIN_TIMEOUT_S)
