"""A slot on a CUDA device: copy in, work, copy out, on a stream of its own."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any, Protocol

import numpy as np

from engines.base import Image, Strength
from engines.cuda import driver as libcuda
from engines.cuda.device import Buffer, CudaDevice
from engines.cuda.driver import CudaError, CudaGraph
from engines.errors import EngineError, one_line
from engines.support import nvtx

log = logging.getLogger(__name__)

SAMPLE_EVERY = 32
"""One frame in so many is launched piece by piece, for the stage times: pycuda's events cannot be part of a graph."""
MAX_POLL_S = 0.0005
"""Longest sleep between two looks at an event."""
CLOSE_TIMEOUT_S = 10.0
"""How long work that is still running may take when a slot is closed."""

FILL_RANGE, LAUNCH_RANGE, WAIT_RANGE = nvtx.nvtx_range("fill input"), nvtx.nvtx_range("launch"), nvtx.nvtx_range("wait")


class Work(Protocol):
    """What is done between the copies."""

    def enqueue(self, stream: int) -> None:
        """Put the work into the stream with that handle and return at once. Raises EngineError."""

    def capturable(self, stream: int) -> bool:
        """Return whether it can be recorded into a CUDA graph."""

    def bind(self, source: int, result: int) -> None:
        """Use these addresses of the device for input and output from now on. It is not running."""

    def close(self) -> None:
        """Free what it owns. It is not running any more."""


class CudaSlot:
    """Owns its buffers, its work, its stream, its events and its graph.

    launch() and wait() may run in different threads. Frames of different slots overlap because nothing but a slot's own
    stream orders its operations.
    """

    def __init__(
        self,
        device: CudaDevice,
        source: Buffer,
        result: Buffer,
        work: Work,
        *,
        mapped: bool,
        factor: Buffer | None = None,
        strength: Strength | None = None,
    ) -> None:
        """Take over the buffers, whose shapes are [1, H, W, 3], and the work. The context is current.

        `factor`: the four bytes of the float32 that `strength` is written to at each launch, if the work reads one.
        """
        driver = device.driver
        self._device, self._driver, self._mapped = device, driver, mapped
        self._factor, self._strength = factor, strength or Strength()
        self._source, self._result, self._work = source, result, work
        self._graph: CudaGraph | None = None
        # Created once: making one costs as much as ten launches.
        self._stream: Any = driver.Stream(libcuda.NON_BLOCKING)
        self._events: list[Any] = [driver.Event() for _ in range(4)]
        self._launches, self._launched, self._sampled = 0, 0.0, False
        self.sample_every, self.close_timeout = SAMPLE_EVERY, CLOSE_TIMEOUT_S
        """One frame in how many is launched piece by piece; seconds that work may still run when it is closed."""
        self.input: Image = source.host[0]
        """What launch() has copied, unchanged until the next launch()."""
        self.finished = 0.0
        self.stages: dict[str, float] = {}
        """Seconds of copy in, inference and copy out of a frame not longer ago than sample_every launches.

        That one is launched piece by piece: where the GPU is quicker than the host can ask, its inference has the time
        of asking in it, and takes longer than that of a graph.
        """

    def launch(self, image: Image) -> None:
        """Copy `image`, uint8 [H, W, 3], and start the work; without the first copy if it is `input` itself."""
        with FILL_RANGE:
            if image is not self.input:
                np.copyto(self.input, image)
            if self._factor is not None:  # nothing of this slot is in flight that might read it
                self._factor.host.view(np.float32)[0] = self._strength.value
        started, *_, done = self._events
        try:
            with self._device, LAUNCH_RANGE:
                self._launched = time.monotonic()
                started.record(self._stream)
                self._sampled = self._graph is None or self._launches % self.sample_every == 0
                if self._graph is None or self._sampled:
                    self._enqueue(marks=True)
                else:
                    self._graph.launch(self._stream.handle)
                done.record(self._stream)
        except (self._driver.Error, CudaError) as error:
            raise self._device.failure("The GPU has refused a frame", error) from error
        self._launches += 1

    def wait(self, timeout: float) -> Image:
        """Return the result; see engines.base.Slot. Raises TimeoutError, EngineError."""
        # Not Event.synchronize(): it has no time limit, and a GPU that hangs would hang the program. Sleeping
        # releases the GIL; a pause is at most a sixteenth of the time waited so far, so a fast engine stays fast.
        began = time.monotonic()
        try:
            with self._device, WAIT_RANGE:
                while not self._events[-1].query():
                    waited = time.monotonic() - began
                    if waited >= timeout:
                        raise TimeoutError
                    time.sleep(min(MAX_POLL_S, waited / 16))
                self._measure()
        except self._driver.Error as error:
            raise self._device.failure("The GPU has failed on a frame", error) from error
        image: Image = self._result.host[0]
        return image

    def record_graph(self) -> bool:
        """Record what launch() does into a graph; False if it cannot be recorded, which is logged.

        It is called after one launch at least, with the context current.
        """
        handle = self._stream.handle
        try:
            if not self._work.capturable(handle):
                raise CudaError("TensorRT cannot capture this plan")
            self._graph = CudaGraph(handle, lambda: self._enqueue(marks=False))
        except (self._driver.Error, CudaError, EngineError) as error:
            log.info("no CUDA graph, every frame is launched piece by piece: %s", one_line(error))
        return self._graph is not None

    def place(self, input: Image, output: Image) -> bool:
        """Work in these buffers, page-locked, from now on (engines.worker). Nothing is in flight.

        False if the device cannot, which is logged: then whoever has the buffers copies.
        """
        with self._device:
            graph, self._graph = self._graph, None
            if graph is not None:
                graph.close()
            placed = False
            try:
                self._source.move(input)
                self._result.move(output)
                placed = True
            except (self._driver.Error, CudaError) as error:
                log.info("frames are copied once more on their way between the processes: %s", one_line(error))
            self._work.bind(self._source.address, self._result.address)
            if graph is not None:
                self.record_graph()
        self.input = self._source.host[0]
        return placed

    def close(self) -> None:
        """Free everything, unless the device does not finish: then the memory is left behind, which is logged."""
        with self._device:
            if not self._idle():
                # Freeing memory that the GPU still writes to is worse than keeping it.
                log.error(
                    "%s has not finished within %g s: its memory is left behind", self._device.name, self.close_timeout
                )
                return
            if self._graph is not None:
                self._graph.close()
            self._work.close()
            self.input = np.empty((0, 0, 3), np.uint8)
            self._source.free(self._driver.Error)
            self._result.free(self._driver.Error)
            if self._factor is not None:
                self._factor.free(self._driver.Error)
            self._graph = self._stream = None
            self._events.clear()

    def _enqueue(self, *, marks: bool) -> None:
        """The three stages, with events between them if `marks`."""
        _, copied, worked, _ = self._events
        if not self._mapped:
            for taken in (self._source, self._factor) if self._factor is not None else (self._source,):
                self._driver.memcpy_htod_async(taken.address, taken.host, self._stream)
        if marks:
            copied.record(self._stream)
        self._work.enqueue(self._stream.handle)
        if marks:
            worked.record(self._stream)
        if not self._mapped:
            self._driver.memcpy_dtoh_async(self._result.host, self._result.address, self._stream)

    def _measure(self) -> None:
        """Times of the frame that has just been found done, by the GPU's clock: a late collector is not its fault."""
        started, copied, worked, done = self._events
        # The stream was empty at launch, so the GPU started then.
        self.finished = min(time.monotonic(), self._launched + started.time_till(done) / 1000)
        if self._sampled:
            spans = (started, copied), (copied, worked), (worked, done)
            names = "copy in", "inference", "copy out"
            times = [earlier.time_till(later) / 1000 for earlier, later in spans]
            self.stages = dict(zip(names, times, strict=True))

    def _idle(self) -> bool:
        """Wait until nothing runs on the stream, for a limited time. A lost device runs nothing."""
        until = time.monotonic() + self.close_timeout
        with contextlib.suppress(self._driver.Error):
            while not self._stream.is_done():
                if time.monotonic() > until:
                    return False
                time.sleep(MAX_POLL_S)
        return True
