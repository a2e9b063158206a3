"""Imports TensorRT and pycuda, or says why they cannot be used here. The only file that imports them.

TensorRT 10.3 to 11.x (JetPack 6.1 and later) and TensorRT-RTX are one API with small differences; what one version
has and another has not is asked for by name.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from engines.cuda import driver
from engines.cuda.device import CudaDevice
from engines.errors import EngineError, one_line

log = logging.getLogger(__name__)

MODULES = ("tensorrt", "tensorrt_rtx")
"""The names of the packages that have this API, in the order in which they are tried."""


def unavailable() -> str | None:
    """Return why TensorRT cannot be used here; None if it can. Imports nothing."""
    if not any(importlib.util.find_spec(name) for name in MODULES):
        return (
            "neither tensorrt (comes with JetPack; a virtual environment sees it if made with --system-site-packages) "
            "nor tensorrt_rtx (pip install 'livesr[tensorrt,rtx]' on a PC) is installed"
        )
    if why := driver.missing():
        return why
    if not importlib.util.find_spec("pycuda"):
        return "pycuda is not installed: pip install 'livesr[tensorrt]'"
    return None


def imported(name: str) -> Any:
    """Import a library. Raises EngineError."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # a library that is missing or of another version: ImportError, OSError, RuntimeError
        raise EngineError(
            f"{name} cannot be imported",
            one_line(error) or type(error).__name__,
            "Install it again; see docs/jetson.md.",
        ) from error


@functools.cache
def module() -> Any:
    """Return TensorRT, under the name it has here. Raises EngineError."""
    name = next((name for name in MODULES if importlib.util.find_spec(name)), None)
    if name is None:
        raise EngineError("TensorRT is not installed", unavailable() or "", "See docs/jetson.md.")
    return imported(name)


class Sdk:
    """What module() returns, imported when something of it is first used; that raises EngineError.

    So a file that is imported where it is not installed can name it.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(module(), name)


if TYPE_CHECKING:
    import tensorrt as trt
else:
    trt = Sdk()
__all__ = ["trt"]  # what a file imports is for itself alone otherwise, says mypy


@functools.cache
def device() -> CudaDevice:
    """Return the first GPU. Raises EngineError."""
    if why := driver.missing():
        raise EngineError("The GPU cannot be used", why, "Install or update the NVIDIA driver, or --engine openvino.")
    return CudaDevice(imported("pycuda.driver"))


@functools.cache
def logger() -> Any:
    """Return what hands TensorRT's messages to the log; `errors` keeps the last ones.

    TensorRT wants one for the whole process.
    """

    class TensorRtLogger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: deque[str] = deque(maxlen=3)

        def log(self, severity: trt.ILogger.Severity, message: str) -> None:
            serious = severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)
            if serious:
                self.errors.append(message)
            # Its errors come again in what is raised, its information is for those who ask.
            log.debug("%s: %s", severity, message)

    return TensorRtLogger()


def last_error() -> str:
    """Return what TensorRT has complained of last."""
    return logger().errors[-1] if logger().errors else "TensorRT gave no reason"


def sdk_name() -> str:
    """Return how a key names the library that builds. Raises EngineError."""
    return f"{trt.__name__} {trt.__version__}"


def gpu_name(name: str, capability: str) -> str:
    """Return how a key names a GPU."""
    return f"compute capability {capability}" if portable() else f"{name}, compute capability {capability}"


def portable() -> bool:
    """Return whether plans fit every GPU of their compute capability: TensorRT-RTX compiles kernels where they run."""
    return hasattr(trt, "ComputeCapability")
