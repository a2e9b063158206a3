"""A CUDA that is lazy on purpose: a stand-in for pycuda.driver and libcuda, at the vendor's boundary.

Every asynchronous operation is queued and carried out late, one at a time, in any order that streams allow; `choose`
decides. Device memory is full of rubbish until something is written to it. Page-locked memory is watched: what an
operation in flight is going to read must not change, and what it is going to write is rubbish until then. Contexts
belong to threads. Allocations are counted. What a real device would do silently wrong is written to `faults`.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.machinery
import mmap
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Choose = Callable[[int], int]


class Error(Exception):
    """pycuda.driver.Error."""


class LogicError(Error):
    """pycuda.driver.LogicError."""


class MemoryError_(Error, MemoryError):
    """pycuda.driver.MemoryError."""


@dataclass
class Operation:
    """Something that a stream will do: `run` it, once. `reads` and `writes` are memories."""

    name: str
    run: Callable[[], None]
    reads: tuple[Memory, ...] = ()
    writes: tuple[Memory, ...] = ()
    owner: object = None
    seen: dict[int, Bytes] = field(default_factory=dict)

    def armed(self, machine: Machine) -> Operation:
        """A copy that watches page-locked memory from now on."""
        made = Operation(self.name, self.run, self.reads, self.writes, self.owner)
        for memory in self.writes:
            if memory.host:
                memory.data[:] = machine.rubbish(memory.data.size)
        for memory in (*self.reads, *self.writes):
            if memory.host:
                made.seen[memory.address] = memory.data.copy()
        return made

    def check(self, machine: Machine) -> None:
        for memory in (*self.reads, *self.writes):
            if memory.freed:
                machine.faults.append(f"{self.name} runs on freed memory")
            elif memory.host and not np.array_equal(made := memory.data, self.seen.get(memory.address, made)):
                machine.faults.append(f"page-locked memory was written while {self.name} was in flight")


class Memory:
    """Bytes on the device or, page-locked, on the host."""

    def __init__(self, machine: Machine, size: int, *, host: bool) -> None:
        machine.need_context("an allocation")
        machine.allocations += 1
        if machine.allocations == machine.fail_allocation or machine.used + size > machine.capacity:
            raise MemoryError_(f"{'cuMemHostAlloc' if host else 'cuMemAlloc'} failed: out of memory")
        self._machine, self.host, self.freed = machine, host, False
        machine.addresses += 0x10000
        self.address = machine.addresses
        self.data: Bytes = machine.rubbish(size)
        machine.memories[self.address] = self

    def __int__(self) -> int:
        return self.address

    def get_device_pointer(self) -> int:
        return self.address

    def free(self) -> None:
        machine = self._machine
        machine.need_context("free")
        assert not self.freed, "freed twice"
        for stream in [] if machine.broken else machine.streams:  # a lost device does nothing any more
            for one in stream.queue:
                if self in one.reads or self in one.writes:
                    machine.faults.append(f"memory was freed while {one.name} was in flight")
        self.freed = True
        del machine.memories[self.address]


class Registered(Memory):
    """Memory of the host's own that has been page-locked."""

    def __init__(self, machine: Machine, at: int, size: int) -> None:
        super().__init__(machine, size, host=True)
        self.data = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(at))


class Pages(np.ndarray):
    """What pagelocked_empty() returns: an array whose base is its allocation."""

    memory: Memory

    @property
    def base(self) -> Any:
        return self.memory


class Stream:
    def __init__(self, machine: Machine) -> None:
        machine.need_context("Stream()")
        self._machine = machine
        self.queue: deque[Operation] = deque()
        self.recording: list[Operation] | None = None
        machine.streams.append(self)
        self.handle = 7000 + len(machine.streams)

    def put(self, operation: Operation) -> None:
        if self.recording is not None:
            self.recording.append(operation)
        else:
            self.queue.append(operation.armed(self._machine))
            self._machine.go_on()

    def is_done(self) -> bool:
        self._machine.need_context("is_done")
        self._machine.fail()
        self._machine.go_on()
        return not self.queue

    def synchronize(self) -> None:
        while not self.is_done():
            self._machine.step()


class Event:
    def __init__(self, machine: Machine) -> None:
        machine.need_context("Event()")
        machine.events += 1
        self._machine, self._waiting, self._time = machine, 0, 0.0

    def record(self, stream: Stream) -> None:
        self._machine.need_context("record")
        self._machine.fail()
        if stream.recording is not None:
            raise LogicError("cuEventRecord in a capture makes an event that cannot be asked")
        self._waiting += 1

        def done() -> None:
            self._waiting -= 1
            self._time = self._machine.clock

        stream.put(Operation("an event", done))

    def query(self) -> bool:
        self._machine.need_context("query")
        self._machine.fail()
        self._machine.go_on()
        return self._waiting == 0

    def time_till(self, later: Event) -> float:
        if self._waiting or later._waiting:
            raise LogicError("cuEventElapsedTime failed: device not ready")
        return later._time - self._time


class Machine:
    """The device, and what is known of it."""

    def __init__(self, choose: Choose, *, integrated: bool = False, capturable: bool = True) -> None:
        self.choose, self.integrated, self.capturable = choose, integrated, capturable
        self.capacity = 1 << 24
        self.streams: list[Stream] = []
        self.memories: dict[int, Memory] = {}
        self.registered: dict[int, Registered] = {}
        """By the address that the host knows."""
        self.registers = True
        """Whether the device sees what the processor has written to memory that it did not allocate."""
        self.graphs: dict[int, list[Operation]] = {}
        self.faults: list[str] = []
        self.stacks = threading.local()
        self.allocations = self.addresses = self.events = self.steps = 0
        self.clock = 0.0
        self.fail_allocation = 0
        """Number of the allocation that finds no memory."""
        self.broken = ""
        """What every call answers from now on."""
        self.lost_after = 0
        """Number of graph launches after which the device is lost."""
        self.refuse = 0
        """Number of the inference that TensorRT refuses."""
        self.inferences = self.graph_launches = self.engines = self.builds = 0
        self._random = np.random.default_rng(1)
        self._lock = threading.RLock()

    def rubbish(self, size: int) -> Bytes:
        return self._random.integers(0, 256, size, np.uint8)

    @property
    def used(self) -> int:
        return sum(memory.data.size for memory in self.memories.values())

    @property
    def stack(self) -> list[Context]:
        """The contexts of the calling thread."""
        if not hasattr(self.stacks, "contexts"):
            self.stacks.contexts = []
        made: list[Context] = self.stacks.contexts
        return made

    def page_locked(self, array: Any) -> Memory:
        """The memory behind an array that is copied asynchronously."""
        if isinstance(array, Pages):
            return array.memory
        assert array.ctypes.data in self.registered, "an asynchronous copy of pageable memory"
        return self.registered[array.ctypes.data]

    def need_context(self, what: str) -> None:
        if not self.stack:
            raise LogicError(f"{what} failed: invalid device context")

    def fail(self) -> None:
        if self.broken:
            raise LogicError(self.broken)

    def go_on(self) -> None:
        """Carry out as many operations as `choose` likes."""
        for _ in range(self.choose(4)):
            self.step()

    def step(self) -> None:
        """Carry out the next operation of some stream."""
        with self._lock:
            ready = [stream for stream in self.streams if stream.queue]
            if not ready or self.broken:
                return
            operation = ready[self.choose(len(ready))].queue.popleft()
            operation.check(self)
            self.clock += 1.0
            self.steps += 1
            with contextlib.suppress(KeyError):  # freed: a fault already
                operation.run()


class Context:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def push(self) -> None:
        self._machine.stack.append(self)


class Driver(ModuleType):
    """pycuda.driver, as far as the engine uses it."""

    Error = Error

    class device_attribute:
        INTEGRATED, CAN_MAP_HOST_MEMORY = "integrated", "can map"

    class host_alloc_flags:
        DEVICEMAP = 2

    def __init__(self, machine: Machine) -> None:
        super().__init__("pycuda.driver")
        self.__spec__ = importlib.machinery.ModuleSpec("pycuda.driver", None)
        self._machine = machine
        self.Stream = lambda flags=0: Stream(machine)
        self.Event = lambda flags=0: Event(machine)
        self.mem_alloc = lambda size: Memory(machine, size, host=False)

        class Device:
            def __init__(self, number: int) -> None: ...
            def retain_primary_context(self) -> Context:
                return Context(machine)

            def name(self) -> str:
                return "Lazy"

            def compute_capability(self) -> tuple[int, int]:
                return 8, 7

            def get_attribute(self, attribute: str) -> int:
                return machine.integrated if attribute == "integrated" else 1

        class Context_:
            @staticmethod
            def pop() -> None:
                machine.stack.pop()

        self.Device, self.Context = Device, Context_

    def init(self) -> None:
        self._machine.fail()

    def mem_get_info(self) -> tuple[int, int]:
        return self._machine.capacity - self._machine.used, self._machine.capacity

    def pagelocked_empty(self, shape: tuple[int, ...], dtype: Any, mem_flags: int = 0) -> Any:
        memory = Memory(self._machine, int(np.prod(shape)), host=True)
        pages = memory.data.reshape(shape).view(Pages)
        pages.memory = memory
        return pages

    def memcpy_htod_async(self, dest: int, src: Pages, stream: Stream) -> None:
        self._machine.need_context("memcpy_htod_async")
        self._machine.fail()
        memory, target = self._machine.page_locked(src), self._machine.memories[dest]

        def run() -> None:
            target.data[:] = memory.data

        stream.put(Operation("a copy in", run, (memory,), (target,)))

    def memcpy_dtoh_async(self, dest: Pages, src: int, stream: Stream) -> None:
        self._machine.need_context("memcpy_dtoh_async")
        self._machine.fail()
        memory, origin = self._machine.page_locked(dest), self._machine.memories[src]

        def run() -> None:
            memory.data[:] = origin.data

        stream.put(Operation("a copy out", run, (origin,), (memory,)))


class Library:
    """libcuda.so.1, as far as engines.cuda.driver uses it; arguments come as ctypes objects."""

    OK, FAILED = 0, 900

    def __init__(self, machine: Machine, *, version: int = 13000, devices: int = 1) -> None:
        self._machine, self._version, self._devices = machine, version, devices
        self._made = 0

    def cuInit(self, flags: int) -> int:
        return self.FAILED if self._machine.broken else self.OK

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = self._devices
        return self.OK

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = self._version
        return self.OK

    def cuGetErrorString(self, code: int, text: Any) -> int:
        text._obj.value = (self._machine.broken or "operation not permitted when stream is capturing").encode()
        return self.OK

    def _stream(self, handle: ctypes.c_void_p) -> Stream:
        return next(stream for stream in self._machine.streams if stream.handle == handle.value)

    def cuStreamBeginCapture_v2(self, stream: ctypes.c_void_p, mode: int) -> int:
        self._stream(stream).recording = []
        return self.OK

    def cuStreamEndCapture(self, stream: ctypes.c_void_p, graph: Any) -> int:
        one = self._stream(stream)
        recorded, one.recording = one.recording or [], None
        self._made += 1
        self._machine.graphs[self._made] = recorded
        graph._obj.value = self._made
        return self.OK

    def cuGraphInstantiateWithFlags(self, run: Any, graph: ctypes.c_void_p, flags: ctypes.c_ulonglong) -> int:
        assert graph.value
        self._made += 1
        self._machine.graphs[self._made] = self._machine.graphs[graph.value]
        run._obj.value = self._made
        return self.OK

    def cuGraphDestroy(self, graph: ctypes.c_void_p) -> int:
        assert graph.value
        del self._machine.graphs[graph.value]
        return self.OK

    cuGraphExecDestroy = cuGraphDestroy

    def cuMemHostRegister_v2(self, at: ctypes.c_void_p, size: ctypes.c_size_t, flags: int) -> int:
        machine = self._machine
        if machine.broken or not machine.registers:
            return self.FAILED
        assert at.value and at.value % mmap.PAGESIZE == 0 and at.value not in machine.registered
        machine.registered[at.value] = Registered(machine, at.value, size.value)
        return self.OK

    def cuMemHostGetDevicePointer_v2(self, pointer: Any, at: ctypes.c_void_p, flags: int) -> int:
        assert at.value
        pointer._obj.value = self._machine.registered[at.value].address
        return self.OK

    def cuMemHostUnregister(self, at: ctypes.c_void_p) -> int:
        assert at.value
        self._machine.registered.pop(at.value).free()
        return self.OK

    def cuGraphLaunch(self, run: ctypes.c_void_p, stream: ctypes.c_void_p) -> int:
        if self._machine.broken:
            return self.FAILED
        self._machine.need_context("cuGraphLaunch")
        assert run.value
        self._machine.graph_launches += 1
        if self._machine.graph_launches == self._machine.lost_after:
            self._machine.broken = "an illegal memory access was encountered"
            return self.FAILED
        for operation in self._machine.graphs[run.value]:
            self._stream(stream).put(operation)
        return self.OK


def install(patch: Any, machine: Machine, **library: int) -> None:
    """Make `machine` what the engine finds: pycuda, libcuda and TensorRT. `patch`: pytest's monkeypatch."""
    from engines.cuda import driver as libcuda
    from engines.cuda import slot
    from tests.fakes.tensorrt import TensorRt

    package = ModuleType("pycuda")
    package.__spec__ = importlib.machinery.ModuleSpec("pycuda", None)
    for name, module in (("pycuda", package), ("pycuda.driver", Driver(machine)), ("tensorrt", TensorRt(machine))):
        patch.setitem(sys.modules, name, module)
    driver = Library(machine, **library)
    patch.setattr(libcuda, "load", lambda: driver)
    patch.setattr(libcuda, "built_for", lambda: [("tensorrt-cu13 11.4.0", 13)])
    patch.setattr(slot, "MAX_POLL_S", 0.0)
    forget()


def forget() -> None:
    """Let the engine import its SDKs anew."""
    from engines.tensorrt import sdk

    for once in (sdk.module, sdk.device, sdk.logger):
        once.cache_clear()
