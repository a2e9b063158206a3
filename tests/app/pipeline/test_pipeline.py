"""The pipeline with real engines: order, losses, stops, limits, failures, changes of size."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from app.overlays.view_state import ViewState
from app.pipeline.build_preview import BuildPreview
from app.pipeline.frame import Frame, FramePool, OutputFrame
from app.pipeline.pacing import paced
from app.pipeline.pipeline import Pipeline
from app.pipeline.protocols import EngineLoadObserver
from app.pipeline.stats import Stats
from engines import bicubic
from engines.base import Engine
from engines.errors import EngineError
from engines.failover.candidates import Candidate
from engines.failover.engine import FailoverEngine
from engines.slot_engine import SlotEngine

SIZE = (32, 24)


class Numbered:
    """Frames whose grey level is their number, at a rate or as fast as they are taken, of one or several sizes."""

    name, live, paced, camera, fps = "numbered", False, True, False, 0.0

    def __init__(self, count: int, *, period: float = 0.0, sizes: Sequence[tuple[int, int]] = (SIZE,)) -> None:
        self._count, self._period, self._sizes = count, period, sizes
        self._closed = threading.Event()
        self.buffers = FramePool()
        self.allocated: set[int] = set()

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._count):
            if self._closed.wait(self._period):
                return
            width, height = self._sizes[index * len(self._sizes) // self._count]
            image = self.buffers.acquire(height, width)
            self.allocated.add(image.ctypes.data)
            image.fill(index % 256)
            yield Frame(image, index, time.monotonic(), index / 30, on_release=self.buffers.release)

    def close(self) -> None:
        self._closed.set()


class Failing(Numbered):
    def __iter__(self) -> Iterator[Frame]:
        yield from super().__iter__()
        raise OSError("the cable is out")


class Keep:
    """Keeps number, size and grey level of what it is given; may take its time or fail."""

    def __init__(self, act: Callable[[OutputFrame], None] = lambda picture: None) -> None:
        self.seen: list[tuple[int, tuple[int, int], int]] = []
        self._act = act

    def write(self, frame: OutputFrame) -> None:
        height, width, _ = frame.image.shape
        assert frame.image.min() == frame.image.max()
        self.seen.append((frame.input.index, (width, height), int(frame.image[0, 0, 0])))
        self._act(frame)


def wait_until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def load(size: tuple[int, int]) -> Engine[Any]:
    return bicubic.load(size, scale=2, depth=2)


def test_a_file_loses_nothing_and_keeps_its_order() -> None:
    source, keep, stats = Numbered(200), Keep(), Stats()
    Pipeline(source, load, stats, after=[keep], lossless=True).run()
    assert keep.seen == [(i, (64, 48), i) for i in range(200)]
    assert (stats.captured, stats.dropped, stats.shown) == (200, 0, 200)


def test_memory_goes_round() -> None:
    source = Numbered(300)
    Pipeline(source, load, Stats(), after=[Keep()], lossless=True).run()
    # Ring 2, engine 2, one on show, one being made, one between two hands.
    assert len(source.allocated) <= 7


def test_a_live_source_drops_the_oldest_and_counts_it() -> None:
    source, stats = Numbered(120, period=0.002), Stats()

    def slow(frame: OutputFrame) -> None:
        wait_until(lambda: stats.captured >= min(120, frame.input.index + 10))

    keep = Keep(slow)
    Pipeline(source, load, stats, after=[keep], lossless=False).run()
    numbers = [index for index, _, _ in keep.seen]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 119
    assert stats.dropped > 0
    assert stats.dropped + stats.shown == stats.captured == 120


@pytest.mark.integration
def test_another_size_loads_another_engine() -> None:
    source, keep, loaded = Numbered(90, sizes=[(32, 24), (17, 33), (32, 24)]), Keep(), []

    def counted(size: tuple[int, int]) -> Engine[Any]:
        loaded.append(size)
        return load(size)

    Pipeline(source, counted, Stats(), after=[keep], lossless=True).run()
    assert loaded == [(32, 24), (17, 33), (32, 24)]
    assert [index for index, _, _ in keep.seen] == list(range(90))
    assert [size for _, size, _ in keep.seen] == [(64, 48)] * 30 + [(34, 66)] * 30 + [(64, 48)] * 30


@pytest.mark.integration
def test_limits_end_the_run() -> None:
    keep = Keep()
    Pipeline(Numbered(10**6), load, Stats(), after=[keep], lossless=True, limit=17).run()
    assert len(keep.seen) == 17
    stats = Stats()
    Pipeline(Numbered(10**6, period=0.005), load, stats, after=[Keep()], lossless=False, duration=0.5).run()
    assert 0.4 < stats.seconds < 10


def test_the_duration_ends_a_run_whose_source_has_fallen_silent() -> None:
    class Silent(Numbered):
        def __iter__(self) -> Iterator[Frame]:
            yield from super().__iter__()
            self._closed.wait(30)

    stats, begun = Stats(), time.monotonic()
    Pipeline(Silent(3), load, stats, after=[Keep()], lossless=False, duration=0.3).run()
    assert stats.shown and time.monotonic() - begun < 10


@pytest.mark.integration
@pytest.mark.parametrize("lossless", [True, False])
def test_stop_ends_everything(lossless: bool) -> None:
    before = threading.active_count()
    keep = Keep()
    pipeline = Pipeline(Numbered(10**6, period=0.001), load, Stats(), after=[keep], lossless=lossless)

    def stop() -> None:
        wait_until(lambda: len(keep.seen) > 20)
        pipeline.stop()

    stopping = threading.Thread(target=stop)
    stopping.start()
    pipeline.run()
    stopping.join()
    assert len(keep.seen) < 10**6
    assert threading.active_count() == before


def test_stop_before_the_first_frame() -> None:
    pipeline = Pipeline(Numbered(5, period=3600), load, Stats(), lossless=True)
    threading.Timer(0.1, pipeline.stop).start()
    pipeline.run()


def test_a_source_without_frames_ends() -> None:
    Pipeline(Numbered(0), load, Stats(), after=[Keep()], lossless=True).run()


def test_a_failing_source_fails_the_run_after_what_it_gave_was_shown() -> None:
    keep = Keep()
    with pytest.raises(OSError, match="cable"):
        Pipeline(Failing(20), load, Stats(), after=[keep], lossless=True).run()
    assert len(keep.seen) == 20


def test_a_failing_sink_fails_the_run() -> None:
    def act(frame: OutputFrame) -> None:
        if frame.input.index == 5:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        Pipeline(Numbered(10**6), load, Stats(), after=[Keep(act)], lossless=True).run()


def test_of_two_failures_the_first_comes_out() -> None:
    class Slot(bicubic.BicubicSlot):
        def launch(self, image: Any) -> None:
            for thread in threading.enumerate():
                if thread.name == "capture":
                    thread.join(20)
            raise RuntimeError("a consequence")

    def made(size: tuple[int, int]) -> Engine[Any]:
        return SlotEngine(load(size).spec, [Slot(size, 2)])

    with pytest.raises(OSError, match="cable"):
        Pipeline(Failing(1), made, Stats(), lossless=True).run()


@pytest.mark.parametrize("where", ["load", "launch", "wait"])
def test_a_failing_engine_fails_the_run(where: str) -> None:
    class Slot(bicubic.BicubicSlot):
        count = 0

        def launch(self, image: Any) -> None:
            Slot.count += 1
            if where == "launch" and Slot.count == 9:
                raise EngineError("the driver is gone")
            super().launch(image)

        def wait(self, timeout: float) -> Any:
            if where == "wait" and Slot.count >= 9:
                raise EngineError("the driver is gone")
            return super().wait(timeout)

    def broken(size: tuple[int, int]) -> Engine[Any]:
        if where == "load":
            raise EngineError("the driver is gone")
        return SlotEngine(load(size).spec, [Slot(size, 2), Slot(size, 2)])

    before = threading.active_count()
    with pytest.raises(EngineError, match="driver"):
        Pipeline(Numbered(10**6), broken, Stats(), after=[Keep()], lossless=True).run()
    assert threading.active_count() == before


class FallbackObserver(EngineLoadObserver):
    """Lets `count` failed engines be replaced, and keeps what it was shown."""

    def __init__(self, count: int = 0) -> None:
        self.count, self.failed, self.shown, self.cancelled = count, list[str](), 0, threading.Event()

    def show(self, frame: Frame | None) -> None:
        self.shown += frame is not None

    def cancel(self) -> None:
        self.cancelled.set()

    def replace(self, failed: str) -> bool:
        self.failed.append(failed)
        return len(self.failed) <= self.count


@pytest.mark.integration
@pytest.mark.parametrize("where", ["launch", "wait"])
def test_a_failed_engine_is_replaced_and_its_frames_are_not_lost(where: str) -> None:
    class Slot(bicubic.BicubicSlot):
        """Fails three times: at the 9th, 34th and 59th of 60 frames, to which each failure adds up to three."""

        launched = waited = 0

        def launch(self, image: Any) -> None:
            Slot.launched += 1
            if where == "launch" and Slot.launched % 25 == 9:
                raise EngineError("the driver is gone")
            super().launch(image)

        def wait(self, timeout: float) -> Any:
            Slot.waited += 1
            if where == "wait" and Slot.waited % 25 == 9:
                raise EngineError("the driver is gone")
            return super().wait(timeout)

    def made(size: tuple[int, int]) -> Engine[Any]:
        return SlotEngine(load(size).spec, [Slot(size, 2), Slot(size, 2)])

    keep, observer, before = Keep(), FallbackObserver(3), set(threading.enumerate())
    Pipeline(Numbered(60), made, Stats(), after=[keep], lossless=True, observer=observer).run()
    assert keep.seen == [(i, (64, 48), i) for i in range(60)]
    assert 1 < len(observer.failed) <= 3 and set(observer.failed) == {"bicubic"}
    assert not set(threading.enumerate()) - before  # those of earlier tests may have ended meanwhile
    with pytest.raises(EngineError, match="driver"):
        Pipeline(Numbered(10**6), made, Stats(), after=[keep], lossless=True, observer=FallbackObserver(1)).run()


@pytest.mark.integration
def test_frames_keep_their_order_when_one_engine_fails_after_another() -> None:
    full = threading.Event()

    class Breaking(bicubic.BicubicSlot):
        """Both slots have a frame when it does."""

        count = 0

        def launch(self, image: Any) -> None:
            super().launch(image)
            Breaking.count += 1
            if Breaking.count == 2:
                full.set()

        def wait(self, timeout: float) -> Any:
            assert full.wait(20)
            raise EngineError("the driver is gone")

    class Broken(bicubic.BicubicSlot):
        def launch(self, image: Any) -> None:
            raise EngineError("the driver is gone")

    kinds = iter([Breaking, Broken, bicubic.BicubicSlot])

    def made(size: tuple[int, int]) -> Engine[Any]:
        kind = next(kinds)
        return SlotEngine(load(size).spec, [kind(size, 2), kind(size, 2)])

    keep = Keep()
    Pipeline(Numbered(8), made, Stats(), after=[keep], lossless=True, observer=FallbackObserver(2)).run()
    assert keep.seen == [(i, (64, 48), i) for i in range(8)]


def test_while_an_engine_is_built_the_window_lives_and_a_stop_ends_it() -> None:
    class Window(Keep):
        visits = 0

        def poll(self) -> None:
            self.visits += 1
            if self.visits >= 5 and observer.shown >= 5:
                pipeline.stop()

    window, observer, before = Window(), FallbackObserver(), threading.active_count()

    def slow(size: tuple[int, int]) -> Engine[Any]:
        assert observer.cancelled.wait(20)
        raise EngineError("Loading the engine was stopped")

    pipeline = Pipeline(Numbered(10, period=0.01), slow, Stats(), after=[window], lossless=False, observer=observer)
    pipeline.run()
    assert observer.cancelled.is_set() and window.visits >= 5 and observer.shown >= 5 and not window.seen
    assert threading.active_count() == before


@pytest.mark.integration
@pytest.mark.parametrize(("built", "longest", "alive"), [(True, 60, True), (False, 60, False), (True, 0.3, False)])
def test_a_build_in_the_middle_of_a_run_is_a_sign_of_life_and_a_load_that_hangs_is_none(
    built: bool, longest: float, alive: bool
) -> None:
    loading = BuildPreview(auto=False, max_build_s=longest)
    told: list[bool] = []

    def slow(size: tuple[int, int]) -> Engine[Any]:
        if size != SIZE:  # the second one, when pictures have been shown
            with loading.progress.work("building") if built else contextlib.nullcontext():
                time.sleep(2.5)
                told.append(time.monotonic() < pipeline.due.at)
        return load(size)

    source = Numbered(20, sizes=[SIZE, (17, 33)])
    pipeline = Pipeline(source, slow, Stats(), after=[Keep()], lossless=True, observer=loading, build_extension_s=1.5)
    pipeline.run()
    assert told == [alive]


def test_an_engine_that_comes_after_the_stop_is_closed() -> None:
    observer, closed = FallbackObserver(), threading.Event()

    def late(size: tuple[int, int]) -> Engine[Any]:
        assert observer.cancelled.wait(20)
        return SlotEngine(load(size).spec, [], close=closed.set)

    pipeline = Pipeline(Numbered(10), late, Stats(), lossless=True, observer=observer)
    threading.Timer(0.1, pipeline.stop).start()
    pipeline.run()
    assert closed.is_set()


def test_what_is_shown_while_an_engine_is_built() -> None:
    shown = list[tuple[tuple[int, int], str]]()
    view = ViewState()

    class Window(Keep):
        def write(self, frame: OutputFrame) -> None:
            notice = re.sub(r" \d+ s \(", " N s (", view.notice)
            shown.append(((frame.image.shape[1], frame.image.shape[0]), notice))

    window = Window()
    loading = BuildPreview(view.say, window=window, auto=True, output=lambda size: (3 * size[0], 3 * size[1]))

    def slow(size: tuple[int, int]) -> Engine[Any]:
        if shown:
            return load(size)
        with loading.progress.work("building the engine for fast-x2 at 32x24", last=94.0):
            loading.progress.stage("Timing tactics 2/3")
            wait_until(lambda: shown)
        return load(size)

    keep = Keep()
    Pipeline(Numbered(5), slow, Stats(), after=[keep], lossless=True, observer=loading).run()
    assert shown[0] == (
        (96, 72),
        "building the engine for fast-x2 at 32x24: Timing tactics 2/3, N s (last time 94 s)",
    )
    assert len(keep.seen) == 5  # what keeps pictures got only upscaled ones
    loading.cancel()
    assert loading.progress.cancelled
    assert loading.replace("tensorrt") and loading.failed == {"tensorrt"}
    assert not BuildPreview(auto=False).replace("tensorrt")


def test_stages_inside_the_engine_are_counted() -> None:
    class Slot(bicubic.BicubicSlot):
        stages = {"copy in": 0.001, "inference": 0.004}  # noqa: RUF012 (read only)

    def made(size: tuple[int, int]) -> Engine[Any]:
        return SlotEngine(load(size).spec, [Slot(size, 2), Slot(size, 2)])

    stats = Stats()
    Pipeline(Numbered(10), made, stats, after=[Keep()], lossless=True).run()
    assert stats.as_dict()["stages_ms"]["inference"] == {"p50": 4.0, "p99": 4.0}
    assert "decode" in stats.as_dict()["stages_ms"]


def test_idle_sinks_are_visited_while_nothing_comes() -> None:
    class Window(Keep):
        visits = 0

        def poll(self) -> None:
            self.visits += 1

    class Pausing(Numbered):
        def __iter__(self) -> Iterator[Frame]:
            yield from super().__iter__()
            wait_until(lambda: window.visits >= 5)

    window = Window()
    Pipeline(Pausing(3), load, Stats(), after=[window], lossless=False).run()
    assert window.visits >= 5


@pytest.mark.integration
def test_a_paced_file_takes_its_time() -> None:
    stats = Stats()
    Pipeline(Numbered(31), load, stats, after=[Keep()], lossless=True, paced=True).run()
    assert stats.shown == 31
    assert stats.seconds > 0.9  # 30 steps of 1/30 s; slower is the machine's fault, faster would be ours


@pytest.mark.integration
def test_the_last_picture_has_its_time_too_unless_the_end_is_asked_for() -> None:
    class Slides(Numbered):
        fps = 4.0

    def seconds(pipeline: Pipeline) -> float:
        """From the last picture to the end."""
        pipeline.run()
        return time.monotonic() - shown[-1]

    shown, window = list[float](), Keep(lambda _: shown.append(time.monotonic()))
    assert seconds(Pipeline(Slides(1), load, Stats(), after=[window], lossless=True, paced=True)) >= 0.25
    Slides.fps = 0.01
    assert seconds(Pipeline(Slides(1), load, Stats(), after=[window], lossless=True)) < 20, "as fast as it goes"
    ended = Pipeline(Slides(1), load, Stats(), after=[window], lossless=True, paced=True)
    threading.Timer(0.1, ended.stop).start()
    assert seconds(ended) < 20 and time.monotonic() < ended.due.at
    assert seconds(Pipeline(Slides(1), load, Stats(), after=[window], lossless=True, paced=True, duration=0.1)) < 20


def test_a_paced_frame_is_as_old_as_its_turn_and_a_stall_is_not_rushed_after(monkeypatch: pytest.MonkeyPatch) -> None:
    now, gone = 100.0, list[float]()

    class Clock(threading.Event):
        """Never set; whoever waits for it finds the time gone by."""

        def wait(self, timeout: float | None = None) -> bool:
            nonlocal now
            now += timeout or 0.0
            return False

    monkeypatch.setattr(time, "monotonic", lambda: now)
    for frame in paced(Numbered(6), Clock()):
        assert frame.captured == now, "the time it has waited for its turn is not its age"
        gone.append(now)
        if frame.index == 2:
            now += 2.0
    assert np.diff(gone) == pytest.approx([1 / 30, 1 / 30, 2.0, 1 / 30, 1 / 30])


def test_figures_add_up() -> None:
    stats = Stats()
    Pipeline(Numbered(50), load, stats, after=[Keep(lambda _: time.sleep(0.002))], lossless=True).run()
    figures = stats.as_dict()
    assert figures["frames_shown"] == 50
    assert figures["input"] == {"width": 32, "height": 24}
    assert figures["output"] == {"width": 64, "height": 48}
    assert figures["engine"]["name"] == "bicubic"
    assert figures["stages_ms"]["sink"]["p50"] >= 2
    assert figures["latency_ms"]["p50"] <= figures["latency_ms"]["p95"] <= figures["latency_ms"]["p99"]
    assert figures["fps_out"] == pytest.approx(49 / figures["seconds"], rel=0.01)


def test_every_sink_costs_its_time() -> None:
    stats, sinks = Stats(), [Keep(lambda _: time.sleep(0.005)), Keep(lambda _: time.sleep(0.005)), Keep()]
    Pipeline(Numbered(10), load, stats, after=sinks, lossless=True).run()
    assert stats.stages["sink"].percentiles(50)[0] >= 10


def test_sinks_before_the_overlays_get_the_pure_picture_and_those_after_them_what_is_drawn() -> None:
    class Marker:
        def draw(self, frame: OutputFrame) -> None:
            time.sleep(0.005)
            frame.image.fill(255)

    before, after, stats = Keep(), Keep(), Stats()
    Pipeline(Numbered(5), load, stats, before=[before], overlays=[Marker()], after=[after], lossless=True).run()
    assert [level for _, _, level in before.seen] == [0, 1, 2, 3, 4]
    assert [level for _, _, level in after.seen] == 5 * [255]
    assert stats.stages["overlay"].percentiles(50)[0] >= 5, "drawing has a stage of its own"


def test_pictures_of_another_engine_are_counted() -> None:
    class Broken(bicubic.BicubicSlot):
        count = 0

        def wait(self, timeout: float) -> Any:
            Broken.count += 1
            if Broken.count > 10:
                raise EngineError("The server is away", "connection refused")
            return super().wait(timeout)

    def remote() -> Engine[Any]:
        if Broken.count:
            raise EngineError("The server is away", "connection refused")
        return SlotEngine(replace(load(SIZE).spec, name="remote"), [Broken(SIZE, 2), Broken(SIZE, 2)])

    keep, stats = Keep(), Stats()
    failover = FailoverEngine[Any]([Candidate("remote", remote)], SIZE, scale=None, depth=2)
    Pipeline(Numbered(50), lambda size: failover, stats, after=[keep], lossless=True).run()
    assert keep.seen == [(i, (64, 48), i) for i in range(50)]
    assert stats.fallback == stats.as_dict()["frames_fallback"] == 40
    engine = stats.as_dict()["engine"]
    assert engine["name"] == "bicubic" and engine["state"] == "remote is away: connection refused; trying again"


def test_samples_keep_the_latest() -> None:
    from app.pipeline.stats import Samples

    samples = Samples(100)
    assert samples.percentiles(50) == [0]
    for value in range(1000):
        samples.add(value / 1000)
    assert samples.percentiles(0, 50, 100) == [900, 949.5, 999]
    assert np.array(samples.percentiles(50)).shape == (1,)


def test_ages_are_told_by_their_percentiles_and_the_rate_falls_when_nothing_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stats, now = Stats(), 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for age in range(101):
        now += 0.1
        frame = Frame(np.zeros((24, 32, 3), np.uint8), 0, now - age / 1000, 0, ready=now)
        stats.add(frame, submitted=now, busy=0.0, spent={})
    assert stats.as_dict()["latency_ms"] == pytest.approx({"p50": 50, "p95": 95, "p99": 99}, abs=0.01)
    assert stats.fps_now() == pytest.approx(10, rel=0.01)
    now += 1.0
    assert stats.fps_now() < 6, "half of the last two seconds had no picture"
    now += 1.5
    assert stats.fps_now() == pytest.approx(1 / 2.5), "what is known then is that it is no more than that"
