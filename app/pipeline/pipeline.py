"""The threads between a source and the sinks, their stop, and the first failure.

capture thread: source -> ring. submit thread: engine.reserve(), ring.get(), engine.submit(). The caller's thread, the
main thread: engine.collect(), then every overlay and sink in turn, because windows and Ctrl-C belong to it.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any

from app.pipeline.frame import Frame, Origin, OutputFrame
from app.pipeline.pacing import DueTime, paced
from app.pipeline.protocols import EngineLoadObserver, Load, Overlay, PolledSink, Sink, Source, Tag
from app.pipeline.ring import Ring
from app.pipeline.stats import Stats
from engines.base import Engine
from engines.errors import EngineError, one_line
from engines.support import nvtx
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

POLL_S = 0.02
"""Between two looks at the window while no picture comes."""

BUILD_EXTENSION_S = 1.0
"""How far each look at an engine that is still being built moves the time by which the next picture is due."""

JOIN_S = 15.0
"""What a thread is given to end. No source waits longer than 10 s for its device, if it can help it (app.sources)."""

COLLECT = nvtx.nvtx_range("collect")

Step = tuple[str, Callable[[OutputFrame], None], AbstractContextManager[Any]]
"""A step of delivery: the stage it counts for in the figures, what to call, and its NVTX range."""


class Pipeline:
    """One run, from the first frame of a source to its end, a stop, a limit or a failure."""

    def __init__(
        self,
        source: Source,
        load: Load,
        stats: Stats,
        *,
        before: Sequence[Sink] = (),
        overlays: Sequence[Overlay] = (),
        after: Sequence[Sink] = (),
        lossless: bool,
        paced: bool = False,
        limit: int | None = None,
        duration: float | None = None,
        stopping: threading.Event | None = None,
        observer: EngineLoadObserver | None = None,
        due: DueTime | None = None,
        build_extension_s: float = BUILD_EXTENSION_S,
    ) -> None:
        """Prepare a run; run() begins it.

        `load` makes an engine for an input size, in a thread of its own; it is called again whenever the size changes,
        and when an engine has failed and `observer` knows another. Every picture goes to the sinks `before`, through
        the `overlays`, and to the sinks `after`, each in the given order.

        `lossless`: a full ring blocks the source instead of dropping its oldest frame. `paced`: frames are let go
        at the rate of their positions. The run ends after `limit` pictures, `duration` seconds after the first, or
        when somebody sets `stopping`. `due` is kept up to date for whoever watches over the run.
        """
        self._source, self._load = source, load
        self.stats = stats
        self._steps: list[Step] = [
            *(("sink", sink.write, nvtx.nvtx_range(type(sink).__name__)) for sink in before),
            *(("overlay", overlay.draw, nvtx.nvtx_range(type(overlay).__name__)) for overlay in overlays),
            *(("sink", sink.write, nvtx.nvtx_range(type(sink).__name__)) for sink in after),
        ]
        self._polled = [sink for sink in (*before, *after) if isinstance(sink, PolledSink)]
        # Live, the newest frame alone: a second one would only have grown older when its turn came.
        self._ring: Ring[Frame] = Ring(2 if lossless else 1, lossless=lossless, discard=Frame.release)
        self._paced, self._limit, self._duration = paced, limit, duration
        self._stopping = stopping or threading.Event()  # set by any thread
        self._observer = observer or EngineLoadObserver()  # main thread
        self._build_extension_s = build_extension_s
        self.due = due or DueTime()  # set by the capture thread and the main thread, read by anyone
        self._shown_at: float | None = None  # main thread; when the last picture was shown
        self._end_at: float | None = None  # main thread; from `duration`, once there has been a picture
        self._failure: BaseException | None = None  # the first of any thread; read after it has been joined
        self._in_flight: deque[Frame] = deque()  # submitted and not collected: submit thread adds, main thread takes
        # What an engine had in it when it failed: the main thread fills it while no submit thread runs, which takes.
        self._resubmit: deque[Frame] = deque()
        self._submit_error: EngineError | None = None  # submit thread; the main thread reads it after the join

    def stop(self) -> None:
        """End the run soon. Any thread may call it."""
        self._stopping.set()

    def run(self) -> None:
        """Run to the end and close the source. Raises the first exception of any thread; the sinks stay open."""
        capture = self._start(self._capture, "capture")
        try:
            while (first := self._next_frame()) is not None and (engine := self._load_engine(first.size)) is not None:
                try:
                    with engine:
                        self._run_engine(engine)
                except EngineError as error:
                    self._resubmit.extendleft(reversed(self._in_flight))  # older than what the engine before has left
                    self._in_flight.clear()
                    if self._stopping.is_set() or not self._observer.replace(engine.spec.name):
                        raise
                    message = "the engine %(engine)s has failed, continuing with another: %(reason)s"
                    name, reason = engine.spec.name, one_line(error)
                    log_event(log, logging.WARNING, "engine_failed", message, engine=name, reason=reason)
                del engine
                gc.collect()  # an engine and its slots refer to one another, with all their buffers
            self._hold_last_picture()
        finally:
            self.stop()
            self._ring.cancel()
            self._source.close()
            join(capture)
        if self._failure is not None:
            raise self._failure

    def _start(self, work: Callable[[], None], name: str) -> threading.Thread:
        def guarded() -> None:
            try:
                work()
            except BaseException as error:
                self._failure = self._failure or error

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread

    # Capture thread.

    def _capture(self) -> None:
        try:
            # The range covers what the source does, not a frame's wait for its turn.
            frames = nvtx.nvtx_iterate("capture", self._source)
            for frame in paced(frames, self._stopping, self.due.set) if self._paced else frames:
                frame.ready = time.monotonic()
                self.stats.captured += 1
                if frame.origin is Origin.LIVE:
                    self.stats.arrivals.add(frame.ready)
                if self._stopping.is_set() or not self._ring.put(frame):
                    break
                self.stats.dropped = self._ring.dropped
        finally:
            self._ring.close()  # what was captured before a failure is still shown and recorded

    # Submit thread.

    def _submit(self, engine: Engine[Tag]) -> None:
        def fits(frame: Frame) -> bool:
            return frame.size == engine.spec.input

        try:
            while engine.reserve():
                frame = self._resubmit.popleft() if self._resubmit else self._ring.get(fits)
                if frame is None:
                    break
                self._in_flight.append(frame)
                engine.submit(frame.image, Tag(frame, time.monotonic()))
        except EngineError as error:
            self._submit_error = error
            engine.cancel()
        except BaseException:
            self.stop()
            raise
        finally:
            engine.finish()

    # Main thread.

    def _next_frame(self) -> Frame | None:
        """Wait for the next frame, whose size decides what engine is loaded, and leave it there; None at the end."""
        if self._resubmit:
            return self._resubmit[0]
        while not self._stopping.is_set():
            try:
                return self._ring.peek(POLL_S)
            except TimeoutError:
                self._poll()
        return None

    def _load_engine(self, size: tuple[int, int]) -> Engine[Tag] | None:
        """Load an engine for `size` while the window stays alive; None if the run was stopped meanwhile."""
        loaded: Future[Engine[Tag]] = Future()

        def work() -> None:
            try:
                loaded.set_result(self._load(size))
            except BaseException as error:
                loaded.set_exception(error)

        thread = threading.Thread(target=work, name="load", daemon=True)
        thread.start()
        while thread.is_alive() and not self._stopping.is_set():
            thread.join(POLL_S)
            if self._observer.busy:
                self.due.set(time.monotonic() + self._build_extension_s)
            self._poll()
            self._observer.show(self._newest_frame())
        if not self._stopping.is_set():
            return loaded.result()
        self._observer.cancel()
        join(thread)
        if loaded.done() and loaded.exception() is None:
            with loaded.result():
                pass  # close what nobody wants any more
        return None

    def _newest_frame(self) -> Frame | None:
        try:
            return self._ring.peek(0)
        except TimeoutError:
            return None

    def _run_engine(self, engine: Engine[Tag]) -> None:
        """Run `engine` until the end, a stop, or a frame of another size, which is left in the ring."""
        self.stats.spec = engine.spec
        log_event(log, logging.INFO, "engine_in_use", "%(engine)s", engine=engine.spec)
        submit = self._start(lambda: self._submit(engine), "submit")
        try:
            self._collect(engine)
        finally:
            engine.cancel()
            if self._stopping.is_set() or self._failure:
                self._ring.cancel()
            join(submit)
        if self._submit_error is not None:
            error, self._submit_error = self._submit_error, None
            raise error

    def _collect(self, engine: Engine[Tag]) -> None:
        while not self._stopping.is_set():
            try:
                with COLLECT:
                    done = engine.collect(POLL_S)
            except TimeoutError:
                self._poll()
                continue
            if done is None:
                return
            image, (frame, submitted), busy = done
            self.stats.spec = engine.spec  # of the engine that made this picture: it may be a fallback
            self._in_flight.popleft()
            self.stats.stage(engine.stages)
            self._deliver(OutputFrame(image, frame), submitted, busy)
            frame.release()

    def _deliver(self, frame: OutputFrame, submitted: float, busy: float) -> None:
        """Hand a picture to every sink and overlay in order, and count what they take."""
        spent = {"overlay": 0.0, "sink": 0.0}
        for stage, take, nvtx_range in self._steps:
            begun = time.monotonic()
            with nvtx_range:
                take(frame)
            spent[stage] += time.monotonic() - begun
        self.stats.add(frame.input, submitted=submitted, busy=busy, spent=spent)
        self._shown_at = now = time.monotonic()
        self._end_at = self._end_at or (now + self._duration if self._duration else None)
        if self.stats.shown == self._limit or (self._end_at and now >= self._end_at):
            self.stop()

    def _hold_last_picture(self) -> None:
        """Show the last picture for as long as the ones before it."""
        if self._paced and self._shown_at is not None and self._failure is None and self._source.fps:
            end = self._shown_at + 1 / self._source.fps
            self.due.set(end)
            while (left := end - time.monotonic()) > 0 and not self._stopping.wait(min(POLL_S, left)):
                self._poll()

    def _poll(self) -> None:
        for sink in self._polled:
            sink.poll()
        if self._end_at and time.monotonic() >= self._end_at:
            self.stop()


def join(thread: threading.Thread) -> None:
    """Wait for a thread that has been told to end."""
    thread.join(JOIN_S)
    if thread.is_alive():
        message = "the %(thread)s thread has not ended within %(timeout_s)g s; not waiting for it any more"
        log_event(log, logging.WARNING, "thread_left_behind", message, thread=thread.name, timeout_s=JOIN_S)
