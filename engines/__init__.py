"""Engines enlarge pictures. They know nothing of cameras, windows or recordings.

load() is the door: it takes an EngineRequest, and imports only the packages of the engine that it picks.
"""

from __future__ import annotations

import sys

from engines.base import Strength
from engines.factory import candidates, load, resolve, unavailable
from engines.request import ENGINE_NAMES, EngineKind, EngineRequest, OpenVinoOptions, TensorRtOptions, TritonOptions

__all__ = [
    "ENGINE_NAMES",
    "EngineKind",
    "EngineRequest",
    "OpenVinoOptions",
    "Strength",
    "TensorRtOptions",
    "TritonOptions",
    "candidates",
    "load",
    "resolve",
    "unavailable",
]

# At its import OpenVINO sends a message to Google Analytics, from a process that it forks, unless this package cannot
# be imported, which None does. A camera in a public place reports to nobody that it is there.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type] # as the documentation of sys.modules has it
