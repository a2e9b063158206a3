"""The CUDA driver library itself, for what pycuda does not offer: whether there is a driver, graphs, foreign memory.

Names, signatures and constants are those of cuda.h (CUDA Driver API reference: Initialization, Version Management,
Memory Management, Stream Management, Graph Management).
"""

from __future__ import annotations

import ctypes
import importlib.metadata
from collections.abc import Callable
from typing import Any

from engines.base import Image

CAPTURE_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile does not spoil the capture."""
NON_BLOCKING = 1
"""CU_STREAM_NON_BLOCKING: such a stream does not wait for the default one, which libraries use now and then."""
REGISTER_MAPPED = 2
"""CU_MEMHOSTREGISTER_DEVICEMAP"""

WHEELS = ("tensorrt-cu12", "tensorrt-cu13", "tensorrt-rtx-cu12", "tensorrt-rtx-cu13")
"""Packages on PyPI whose name says which CUDA they were built for; JetPack's own fits JetPack's driver."""


class CudaError(RuntimeError):
    """A call of the driver has failed."""


def load() -> Any:
    """Return libcuda.so.1. Raises OSError where no NVIDIA driver is installed."""
    return ctypes.CDLL("libcuda.so.1")


def call(driver: Any, name: str, *arguments: Any) -> None:
    """Call a function of the driver by name. Raises CudaError, also where a driver is too old to have it."""
    try:
        code = getattr(driver, name)(*arguments)
    except AttributeError:
        raise CudaError(f"the NVIDIA driver has no {name}") from None
    if code:
        text = ctypes.c_char_p()
        driver.cuGetErrorString(code, ctypes.byref(text))
        raise CudaError(f"{name} failed: {(text.value or b'').decode() or f'error {code}'}")


def missing() -> str | None:
    """Return why no program can use CUDA here; None if it can."""
    try:
        driver = load()
    except OSError:
        return "there is no NVIDIA driver: libcuda.so.1 is not found"
    count, version = ctypes.c_int(), ctypes.c_int()
    try:
        call(driver, "cuInit", 0)
        call(driver, "cuDeviceGetCount", ctypes.byref(count))
        call(driver, "cuDriverGetVersion", ctypes.byref(version))
    except CudaError as error:
        return f"the NVIDIA driver does not work: {error}"
    if not count.value:
        return "the NVIDIA driver sees no GPU"
    major, minor = version.value // 1000, version.value % 1000 // 10  # 13020 is CUDA 13.2 (cuDriverGetVersion)
    for name, needed in built_for():
        if major < needed:
            return f"the NVIDIA driver is too old: it knows CUDA up to {major}.{minor}, {name} needs {needed}.0"
    return None


def built_for() -> list[tuple[str, int]]:
    """Return the installed wheels of NVIDIA's that name a CUDA version, and its major part."""
    found = []
    for name in WHEELS:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found.append((f"{name} {version}", int(name[-2:])))
    return found


class CudaGraph:
    """Operations of a stream, recorded once and launched as one."""

    def __init__(self, stream: int, work: Callable[[], None]) -> None:
        """Record what `work` puts into the stream with handle `stream`, which does not run meanwhile.

        Raises CudaError, or what `work` raises; the stream can be used as before then.
        """
        self._driver = load()
        graph, self._run = ctypes.c_void_p(), ctypes.c_void_p()
        call(self._driver, "cuStreamBeginCapture_v2", ctypes.c_void_p(stream), CAPTURE_THREAD_LOCAL)
        try:
            try:
                work()
            finally:
                # A capture that went wrong ends with an error of its own; the first failure is the one to report.
                code = self._driver.cuStreamEndCapture(ctypes.c_void_p(stream), ctypes.byref(graph))
            if code or not graph.value:
                raise CudaError("the operations cannot be recorded")
            call(self._driver, "cuGraphInstantiateWithFlags", ctypes.byref(self._run), graph, ctypes.c_ulonglong(0))
        finally:
            if graph.value:
                self._driver.cuGraphDestroy(graph)

    def launch(self, stream: int) -> None:
        """Put all of it into a stream. Raises CudaError."""
        call(self._driver, "cuGraphLaunch", self._run, ctypes.c_void_p(stream))

    def close(self) -> None:
        """Free it. It must not be running any more."""
        if self._run.value:
            self._driver.cuGraphExecDestroy(self._run)
            self._run = ctypes.c_void_p()


class Registration:
    """Somebody else's memory, page-locked until free().

    Not by pycuda (2026.1): its register_host_memory() gives an array a second base, which NumPy refuses.
    """

    def __init__(self, image: Image, *, mapped: bool) -> None:
        """Page-lock `image`, which begins at a page and stays where it is until free(). The context is current.

        Raises CudaError, also on a device that does not see what the processor has written (cuMemHostRegister:
        CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED).
        """
        self._driver, self._at = load(), ctypes.c_void_p(image.ctypes.data)
        flags = REGISTER_MAPPED if mapped else 0
        call(self._driver, "cuMemHostRegister_v2", self._at, ctypes.c_size_t(image.nbytes), flags)

    def get_device_pointer(self) -> int:
        """Return where the device sees it, if it is mapped. Raises CudaError."""
        pointer = ctypes.c_uint64()
        call(self._driver, "cuMemHostGetDevicePointer_v2", ctypes.byref(pointer), self._at, 0)
        return pointer.value

    def free(self) -> None:
        """Make it ordinary memory again. Nothing on the device may use it any more."""
        self._driver.cuMemHostUnregister(self._at)
