"""From one model to the next between two frames, with everything that may go wrong on the way."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.catalog import ladder
from engines.catalog import shipped as catalog
from engines.catalog.onnx_metadata import properties
from engines.errors import EngineError
from engines.failover import model_switcher
from engines.failover.candidates import Candidate
from engines.failover.model_loader import SwitchRung
from engines.failover.model_switcher import NO_MODEL_FITS, ModelSwitcher
from engines.support.priority import NICE_INCREMENT, low_priority
from tests.support.failing_engines import GONE, QUICK, SIZE, Device, Run, raising

TRIED = model_switcher.TRIAL_FRAMES


@dataclass
class Driver:
    """Does what a test wants, and notes what it is told."""

    wish: int = 0
    takes: bool = True
    busy: list[float | None] = field(default_factory=list)
    trials: list[tuple[int, float]] = field(default_factory=list)
    errors: list[tuple[int, EngineError]] = field(default_factory=list)
    gears: list[int] = field(default_factory=list)

    def begin(self, rungs: Sequence[ladder.Rung], index: int) -> None:
        pass

    def decide(self, index: int, busy: float | None) -> int:
        self.busy.append(busy)
        return self.wish

    def accepts(self, index: int, seconds: float) -> bool:
        self.trials.append((index, seconds))
        if not self.takes:
            self.wish = 0
        return self.takes

    def failed(self, index: int, error: EngineError) -> None:
        self.errors.append((index, error))
        self.wish = 0

    def stepped(self, index: int) -> None:
        self.gears.append(index)
        self.wish = 0


@contextmanager
def switching(
    *devices: Device | None, first: int, depth: int = 2, trial_timeout: float = 10.0
) -> Iterator[tuple[ModelSwitcher[int], Driver, Run]]:
    rungs = [
        SwitchRung("bicubic", []) if one is None else SwitchRung(one.name, [Candidate(one.name, one.load, 5.0)])
        for one in devices
    ]
    driver = Driver()
    with ModelSwitcher[int](
        rungs,
        SIZE,
        driver,
        first=first,
        scale=None,
        depth=depth,
        retry=QUICK,
        decision_period=0.002,
        min_trial=0.0,
        trial_timeout=trial_timeout,
    ) as box:
        yield box, driver, Run(box)
    assert all(slot.closed for one in devices if one for slot in one.slots), "an engine was not freed"


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def step(box: ModelSwitcher[int], driver: Driver, run: Run, way: int) -> None:
    """Frames until it has stepped that way."""
    count = len(driver.gears)
    driver.wish = way
    end = time.monotonic() + 60
    while len(driver.gears) == count:
        assert time.monotonic() < end
        run.frames(1, period=0.001)


def devices(*names: str) -> list[Device]:
    return [Device(name=name) for name in names]


def test_down_and_up_again_between_two_frames() -> None:
    made = devices("small", "middle", "large")
    small, middle, large = made
    with switching(*made, first=2) as (box, driver, run):
        run.frames(5)
        until(lambda: small.loads)
        assert not middle.loads, "only what one may have to go down to"
        step(box, driver, run, -1)
        run.frames(5)
        for _ in range(2):
            step(box, driver, run, 1)
            run.frames(5)
        assert driver.gears == [0, 1, 2] and [gear for gear, _ in driver.trials] == [1, 2]
        until(lambda: sum(not slot.closed for one in made for slot in one.slots) == 6)  # two of the three
        assert [one.loads for one in made] == [1, 1, 2]
        assert middle.slots[0].closed and not small.slots[0].closed and not large.slots[-1].closed
    order = [name for name, before in zip(run.made, [None, *run.made], strict=False) if name != before]
    assert order == ["large", "small", "middle", "large"], "never bicubic in between"
    assert set(run.states) == {""}


@pytest.mark.integration
@settings(max_examples=25)
@given(
    ways=st.lists(st.sampled_from([-1, 1]), max_size=8),
    depth=st.integers(1, 3),
    period=st.sampled_from([0, 0.001]),
    broken=st.lists(st.integers(0, 60), max_size=4),
)
def test_no_frame_is_lost_and_none_overtakes_another(
    ways: list[int], depth: int, period: float, broken: Sequence[int]
) -> None:
    """Run checks the tags, and that each picture is of its frame, made by whom it says."""
    made = [Device(name="small", on_frame=raising(GONE, *broken) if broken else lambda n: None), Device(name="large")]
    with switching(*made, first=1, depth=depth) as (box, driver, run):
        for way in ways:
            if 0 <= box.index + way < 2:
                driver.wish = way
            run.frames(15, period)
        driver.wish = 0
        run.frames(5)
    assert all(later != earlier for earlier, later in zip(driver.gears, driver.gears[1:], strict=False))


def test_bicubic_as_the_last_step_says_so() -> None:
    (small,) = devices("small")
    with switching(None, small, first=1) as (box, driver, run):
        run.frames(3)
        step(box, driver, run, -1)
        run.frames(5)
        assert run.made[-1] == "bicubic" and run.states[-1] == NO_MODEL_FITS.reason and box.index == 0
        time.sleep(0.05)
        assert small.loads == 1, "nobody has asked for it"
        step(box, driver, run, 1)
        run.until("small")
        assert run.states[-1] == ""


def test_a_larger_model_is_tried_before_it_is_used() -> None:
    small, large = devices("small", "large")
    large.on_frame = lambda _: time.sleep(0.02)
    with switching(small, large, first=0) as (box, driver, run):
        run.frames(3)
        driver.takes, driver.wish = False, 1
        until(lambda: driver.trials)
        run.frames(5)
        assert box.index == 0 and set(run.made) == {"small"} and driver.trials[0][1] >= 0.02
        until(lambda: all(slot.closed for slot in large.slots))
        assert large.frames == TRIED
        driver.takes = True
        step(box, driver, run, 1)
        run.until("large")


def test_a_larger_model_that_cannot_be_had_is_told() -> None:
    small, large = devices("small", "large")
    large.on_load = raising(GONE, 0)
    large.on_frame = raising(EngineError("out of memory"), 0)
    with switching(small, large, first=0) as (box, driver, run):
        run.frames(3)
        driver.wish = 1
        until(lambda: driver.errors)
        assert driver.errors == [(1, GONE)]
        box._loader._backoffs[1].reset()  # it would be half a minute
        driver.wish = 1
        until(lambda: len(driver.errors) == 2)
        assert driver.errors[1][1].problem == "out of memory"
        step(box, driver, run, 1)
        run.until("large")


def test_a_trial_without_an_answer_is_a_failure() -> None:
    gate = threading.Event()
    small, large = devices("small", "large")
    large.on_frame = lambda _: gate.wait(20) and None
    try:
        with switching(small, large, first=0, trial_timeout=0.05) as (_, driver, run):
            run.frames(3)
            driver.wish = 1
            until(lambda: driver.errors)
            assert "too slow" in driver.errors[0][1].problem
            run.frames(3)
            gate.set()
    finally:
        gate.set()


def test_what_a_frame_costs_is_told_and_what_has_failed_is_infinite() -> None:
    small, large = devices("small", "large")
    large.on_frame = lambda _: time.sleep(0.01)
    with switching(small, large, first=1, depth=1) as (_, driver, run):
        run.frames(20)
        until(lambda: driver.busy[-1] is not None)
        assert driver.busy[-1] is not None and 0.009 < driver.busy[-1] < 5
        large.on_load = raising(GONE)
        large.on_frame = raising(GONE)
        driver.busy.clear()
        run.frames(20, period=0.002)
        until(lambda: float("inf") in driver.busy)


def test_a_spare_that_has_died_meanwhile_is_replaced() -> None:
    small, large = devices("small", "large")
    with switching(small, large, first=1) as (box, driver, run):
        run.frames(3)
        until(lambda: 0 in box._loader._ready)
        small.on_launch = raising(GONE, 0)
        step(box, driver, run, -1)
        run.until("small")
        assert small.loads == 2


def test_the_end_does_not_wait_for_a_load() -> None:
    gate = threading.Event()
    small, large = devices("small", "large")
    small.on_load = lambda _: gate.wait(60) and None
    try:
        with ModelSwitcher[int](
            [SwitchRung(one.name, [Candidate(one.name, one.load, 5.0)]) for one in (small, large)],
            SIZE,
            Driver(),
            first=1,
            scale=None,
            depth=2,
            cancel=gate.set,
        ) as box:
            Run(box).frames(3)
            until(lambda: small.loads)
            begun = time.monotonic()
        assert time.monotonic() - begun < 30
        until(lambda: all(slot.closed for slot in small.slots))
    finally:
        gate.set()


# Its models.


def test_the_ladder_of_what_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = catalog.MODELS_FOLDER
    for name in ("fast-x2", "fast-x2-int8", "fast-webcam-x2", "fast-x3", "big-x2", "huge-webcam-x2"):
        (tmp_path / f"{name}.onnx").write_bytes((real / "fast-x2.onnx").read_bytes())
    (tmp_path / "big-x2.onnx").write_bytes(b"no model at all" * 90000)
    monkeypatch.setattr(catalog, "MODELS_FOLDER", tmp_path)

    def names(model: str, *others: str) -> list[str]:
        rungs, at, told = ladder.ladder(model, others)
        assert rungs[at].model == model and told == 2
        return [rung.model for rung in rungs]

    assert names("fast") == ["fast", "big"] and names("fast-x2-int8") == ["fast-x2-int8", "big"]
    assert names("big") == ["fast", "big"]
    assert set(names("fast-webcam")) == {"fast-webcam", "huge-webcam"}
    assert ladder.ladder("fast", scale=3)[0] == [ladder.Rung("fast", 11500)]
    assert names("big", "fast", "bicubic") == ["bicubic", "fast", "big"]
    own = tmp_path / "elsewhere" / "mine.onnx"
    own.parent.mkdir()
    own.write_bytes((real / "fast-x2.onnx").read_bytes())
    assert names(str(own)) == [str(own)], "the scale is in its metadata"
    assert names(str(own), "big") == [str(own), "big"]
    with pytest.raises(EngineError, match="no model called none"):
        names("fast", "none")
    with pytest.raises(EngineError, match="does not enlarge 3 times"):
        ladder.ladder("fast", ["big"], 3)


def test_metadata_are_those_that_onnx_reads() -> None:
    onnx = pytest.importorskip("onnx")
    for path in catalog.MODELS_FOLDER.glob("*.onnx"):
        assert properties(path) == {entry.key: entry.value for entry in onnx.load(path).metadata_props}


@pytest.mark.parametrize("content", [b"", b"text", b"\xff" * 40, bytes(100), b"\x72\x7f", b"\x72\x02\x0a\x00"])
def test_what_is_no_model_has_no_metadata(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    assert properties(tmp_path / "a.onnx") == {} == properties(tmp_path / "none.onnx")


@pytest.mark.integration
def test_work_in_the_background_is_quiet_until_its_end() -> None:
    def priority(task: int = 0) -> int:
        return os.getpriority(os.PRIO_PROCESS, task)

    usual, gate = priority(), threading.Event()
    thread = threading.Thread(target=gate.wait, args=(20,))
    with low_priority():
        quiet = priority()
        thread.start()
        child = subprocess.Popen(["sleep", "20"])
        assert quiet in (min(19, usual + NICE_INCREMENT), usual), "where it may not be undone, it is not done"
        tasks = [0, child.pid, thread.native_id or 0]
        assert [priority(task) for task in tasks] == [quiet] * 3
    try:
        assert [priority(task) for task in tasks] == [usual] * 3
    finally:
        gate.set()
        thread.join()
        child.kill()
        child.wait()
