"""The threads between a source and the sinks, their stop, and the first failure.

capture thread: source -> ring. submit thread: engine.reserve(), ring.get(), engine.submit(). The caller's thread:
engine.collect(), then every sink in turn, because windows and Ctrl-C belong to the main thread.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from app.pipeline.frame import Frame, Origin, OutputFrame
from app.pipeline.pacing import paced
from app.pipeline.protocols import EngineLoadObserver, Load, Sink, Source, Tag
from app.pipeline.ring import Ring
from app.pipeline.stats import Stats
from engines.base import Engine
from engines.errors import EngineError, one_line
from engines.support import nvtx
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

POLL = 0.02
"""Seconds between two looks at the window while no picture comes."""

BUSY = 1.0
"""Seconds for which an engine that is seen to be built excuses that no picture comes."""

JOIN = 15.0
"""Seconds a thread is given to end. No source waits longer than 10 s for its device, if it can (app.sources)."""

COLLECT = nvtx.nvtx_range("collect")


class Pipeline:
    """One run, from the first frame of a source to its end, a stop, a limit or a failure."""

    def __init__(
        self,
        source: Source,
        load: Load,
        sinks: Sequence[Sink],
        stats: Stats,
        *,
        lossless: bool,
        paced: bool = False,
        limit: int | None = None,
        duration: float | None = None,
        stopping: threading.Event | None = None,
        loading: EngineLoadObserver | None = None,
    ) -> None:
        """`load` makes an engine for an input size, in a thread of its own; it is called again whenever the size
        changes, and when an engine has failed and `loading` knows another.

        `lossless`: a full ring blocks the source instead of dropping its oldest frame. `paced`: frames are let go
        at the rate of their positions. The run ends after `limit` pictures, `duration` seconds after the first, or
        when somebody sets `stopping`.
        """
        self._source, self._load, self._sinks, self.stats = source, load, sinks, stats
        self._ranges = [nvtx.nvtx_range(type(sink).__name__) for sink in sinks]
        # Live, the newest frame alone: a second one would only have grown older when its turn came.
        self._ring: Ring[Frame] = Ring(2 if lossless else 1, lossless=lossless, discard=Frame.release)
        self._paced, self._limit, self._duration = paced, limit, duration
        self._stopping = stopping or threading.Event()
        self.due = 0.0
        """Until then no picture is missing: the next one is at hand, the last one has its time, or an engine is being
        built. In seconds of time.monotonic()."""
        self._shown_at: float | None = None
        self._failure: BaseException | None = None
        self._until: float | None = None
        self._loading = loading or EngineLoadObserver()
        self._flying: deque[Frame] = deque()  # submitted and not collected
        self._again: deque[Frame] = deque()  # what an engine had in it when it failed
        self._broken: EngineError | None = None  # what the submit thread has met

    def stop(self) -> None:
        """End the run soon, from any thread."""
        self._stopping.set()

    def run(self) -> None:
        """Run to the end and close the source. Raises the first exception of any thread; the sinks stay open."""
        capture = self._started(self._capture, "capture")
        try:
            while (first := self._peek()) is not None and (made := self._loaded(first.size)) is not None:
                try:
                    with made:
                        self._session(made)
                except EngineError as error:
                    self._again.extendleft(reversed(self._flying))  # older than what is left of the engine before
                    self._flying.clear()
                    if self._stopping.is_set() or not self._loading.replace(made.spec.name):
                        raise
                    message = "the engine %(engine)s has failed, going on with another: %(reason)s"
                    name, why = made.spec.name, one_line(error)
                    log_event(log, logging.WARNING, "engine_failed", message, engine=name, reason=why)
                del made
                gc.collect()  # its slots and it refer to one another, with all the buffers behind them
            self._hold()
        finally:
            self.stop()
            self._ring.cancel()
            self._source.close()
            join(capture)
        if self._failure is not None:
            raise self._failure

    def _started(self, work: Callable[[], None], name: str) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self._failure = self._failure or error

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    def _capture(self) -> None:
        try:
            # Around what the source does; that a picture which is at hand has to wait for its time is no part of it.
            frames = nvtx.nvtx_iterate("capture", self._source)
            for frame in paced(frames, self._stopping, self._wait_until) if self._paced else frames:
                frame.ready = time.monotonic()
                self.stats.captured += 1
                if frame.origin is Origin.LIVE:
                    self.stats.arrivals.add(frame.ready)
                if self._stopping.is_set() or not self._ring.put(frame):
                    break
                self.stats.dropped = self._ring.dropped
        finally:
            self._ring.close()  # what was captured before a failure is still shown and recorded

    def _wait_until(self, due: float) -> None:
        self.due = due

    def _hold(self) -> None:
        """Give the last picture its time, too."""
        if self._paced and self._shown_at is not None and self._failure is None and self._source.fps:
            self.due = self._shown_at + 1 / self._source.fps
            while (left := self.due - time.monotonic()) > 0 and not self._stopping.wait(min(POLL, left)):
                self._idle()

    def _peek(self) -> Frame | None:
        """The next frame, left in the ring, whose size decides what engine is loaded; None at the end."""
        if self._again:
            return self._again[0]
        while not self._stopping.is_set():
            try:
                return self._ring.peek(POLL)
            except TimeoutError:
                self._idle()
        return None

    def _loaded(self, size: tuple[int, int]) -> Engine[Tag] | None:
        """An engine for `size`; None if the run was stopped meanwhile. The window stays alive."""
        made: list[Engine[Tag]] = []
        failed: list[BaseException] = []

        def work() -> None:
            try:
                made.append(self._load(size))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=work, name="load", daemon=True)
        thread.start()
        while thread.is_alive() and not self._stopping.is_set():
            thread.join(POLL)
            if self._loading.busy:
                self.due = time.monotonic() + BUSY
            self._idle()
            self._loading.show(self._newest())
        if self._stopping.is_set():
            self._loading.cancel()
            join(thread)
            for engine in made:
                with engine:
                    pass
            return None
        if failed:
            raise failed[0]
        return made[0]

    def _newest(self) -> Frame | None:
        try:
            return self._ring.peek(0)
        except TimeoutError:
            return None

    def _session(self, engine: Engine[Tag]) -> None:
        """One engine's life: until the end, a stop, or a frame of another size, which is left in the ring."""
        self.stats.spec = engine.spec
        log_event(log, logging.INFO, "engine_in_use", "%(engine)s", engine=engine.spec)
        submit = self._started(lambda: self._submit(engine), "submit")
        try:
            self._collect(engine)
        finally:
            engine.cancel()
            if self._stopping.is_set() or self._failure:
                self._ring.cancel()
            join(submit)
        if self._broken is not None:
            error, self._broken = self._broken, None
            raise error

    def _submit(self, engine: Engine[Tag]) -> None:
        def fits(frame: Frame) -> bool:
            return frame.size == engine.spec.input

        try:
            while engine.reserve():
                frame = self._again.popleft() if self._again else self._ring.get(fits)
                if frame is None:
                    break
                self._flying.append(frame)
                engine.submit(frame.image, Tag(frame, time.monotonic()))
        except EngineError as error:
            self._broken = error
            engine.cancel()
        except BaseException:
            self.stop()
            raise
        finally:
            engine.finish()

    def _collect(self, engine: Engine[Tag]) -> None:
        while not self._stopping.is_set():
            try:
                with COLLECT:
                    done = engine.collect(POLL)
            except TimeoutError:
                self._idle()
                continue
            if done is None:
                return
            image, (frame, submitted), busy = done
            self.stats.spec = engine.spec  # of the engine that made this one: another may have stood in
            self._flying.popleft()
            self.stats.stage(engine.stages)
            self._hand_on(OutputFrame(image, frame), submitted, busy)
            frame.release()

    def _hand_on(self, picture: OutputFrame, submitted: float, busy: float) -> None:
        spent = {"overlay": 0.0, "sink": 0.0}
        for sink, marked in zip(self._sinks, self._ranges, strict=True):
            begun = time.monotonic()
            with marked:
                sink.write(picture)
            spent[sink.stage] += time.monotonic() - begun
        self.stats.add(picture.frame, submitted=submitted, busy=busy, spent=spent)
        self._shown_at = now = time.monotonic()
        self._until = self._until or (now + self._duration if self._duration else None)
        if self.stats.shown == self._limit or (self._until and now >= self._until):
            self.stop()

    def _idle(self) -> None:
        for sink in self._sinks:
            sink.idle()
        if self._until and time.monotonic() >= self._until:
            self.stop()


def join(thread: threading.Thread) -> None:
    """Wait for a thread that has been told to end."""
    thread.join(JOIN)
    if thread.is_alive():
        message = "the %(thread)s thread has not ended within %(timeout_s)g s and is left behind"
        log_event(log, logging.WARNING, "thread_left_behind", message, thread=thread.name, timeout_s=JOIN)
