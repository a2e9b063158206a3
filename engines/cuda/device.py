"""A CUDA device, its context, and the memory that host and device share. The caller passes pycuda's driver module."""

from __future__ import annotations

import contextlib
import math
from types import ModuleType
from typing import Any

import numpy as np
import psutil

from engines.base import Image
from engines.cuda.driver import CudaError, Registration
from engines.errors import EngineError

DEVICE_LOST_WORDS = (
    "illegal",
    "launch fail",
    "lost",
    "uncorrectable",
    "assert",
    "hardware",
    "misaligned",
    "unavailable",
    "unknown",
)
"""Words in CUDA's messages after which the context, and with it this process's use of the GPU, is beyond repair."""


class CudaDevice:
    """The first GPU and its primary context. As a `with` block: the context is the calling thread's for that time.

    The primary context is the one that TensorRT's own runtime uses. It is retained once and kept for the life of the
    process: pycuda releases it only in the thread that retained it, and engines come and go in others.
    """

    def __init__(self, driver: ModuleType) -> None:
        """Retain the first GPU's context; `driver` is pycuda's module. Raises EngineError."""
        self.driver = driver
        try:
            driver.init()
            device = driver.Device(0)
            self._context = device.retain_primary_context()
            self.name: str = device.name()
            major, minor = device.compute_capability()
            attribute = driver.device_attribute
            self.integrated = bool(device.get_attribute(attribute.INTEGRATED))
            self.maps = bool(device.get_attribute(attribute.CAN_MAP_HOST_MEMORY))
        except driver.Error as error:
            raise failure("The GPU cannot be used", error, "GPU 0") from error
        self.capability = f"{major}.{minor}"

    def __enter__(self) -> CudaDevice:
        self._context.push()
        return self

    def __exit__(self, *_: Any) -> None:
        self.driver.Context.pop()

    def free(self) -> int:
        """Return the bytes that can be allocated now."""
        with self:
            free, _total = self.driver.mem_get_info()
        # On a Jetson CUDA counts the file cache as used; the kernel would give it up.
        return max(int(free), psutil.virtual_memory().available) if self.integrated else int(free)

    def failure(self, problem: str, error: Exception) -> EngineError:
        """Return `error` in words that a user can do something with."""
        return failure(problem, error, self.name)


def failure(problem: str, error: Exception, device: str) -> EngineError:
    """Return the EngineError for CUDA's answer."""
    text = str(error)
    if "out of memory" in text:
        fix = "Close what else uses the GPU (nvidia-smi, tegrastats), or choose a smaller --size or --depth 1."
    elif any(word in text.lower() for word in DEVICE_LOST_WORDS):
        fix = (
            "The GPU is lost to this process: start it again. If it happens again: sudo dmesg | grep -iE 'nvrm|nvgpu'."
        )
    elif "driver version" in text or "no CUDA-capable" in text or "not initialized" in text:
        fix = "Update the NVIDIA driver (on a Jetson: JetPack), or choose --engine openvino."
    else:
        fix = "Start again; --engine openvino runs without the GPU."
    return EngineError(problem, f"{device}: {text}", fix)


class Buffer:
    """Bytes that the host sees as `host` and the device at `address`.

    Copied: page-locked host memory and device memory of the same size, to be copied asynchronously. Mapped: one
    page-locked memory that the device reads and writes in place, which costs no copy where both share the chips.
    """

    def __init__(self, device: CudaDevice, shape: tuple[int, ...], *, mapped: bool) -> None:
        """Allocate uint8 of `shape`; the context is current. Raises pycuda's errors, holding nothing."""
        driver = device.driver
        flags = driver.host_alloc_flags.DEVICEMAP if mapped else 0
        self._mapped = mapped
        # The device's first: where there is too little, that says so at once; locking pages could starve the board.
        self._memory: Any = driver.mem_alloc(math.prod(shape)) if not mapped else None
        self._pages: Any = None
        try:
            self.host: Image = driver.pagelocked_empty(shape, np.uint8, mem_flags=flags)
            self._pages = self.host.base
            place: Any = self._pages.get_device_pointer() if mapped else self._memory
            self.address = int(place)
        except driver.Error:
            self.free(driver.Error)
            raise

    def move(self, image: Image) -> None:
        """Use somebody else's memory of the same size for the host's side from now on: `host` is a view of `image`.

        It begins at a page, and must stay until free(). Raises CudaError, and nothing has changed; pycuda's errors.
        """
        pages = Registration(image, mapped=self._mapped)
        try:
            if self._mapped:
                self.address = pages.get_device_pointer()
        except CudaError:
            pages.free()
            raise
        before, self._pages = self._pages, pages
        self.host = image.reshape(self.host.shape)
        before.free()

    def free(self, error: type[Exception]) -> None:
        """Free both memories; `host` must not be touched any more. `error` is what pycuda raises on a lost device."""
        for memory in (self._memory, self._pages):
            if memory is not None:
                with contextlib.suppress(error):
                    memory.free()
        self.host = np.empty((0, 0, 3), np.uint8)
