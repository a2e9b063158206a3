"""The cache of plans: keys, damage, locks, two processes at once, pruning."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import EngineError
from engines.support.progress import BuildProgress
from engines.tensorrt.plan_cache import Plan, PlanCache, PlanKey

KEY = PlanKey("fast-x2", "abc", "640x360", "tensorrt 10.3.0", "Orin, compute capability 8.7", "")
ROOT = Path(__file__).parents[3]


def take(body: bytes) -> bytes | None:
    return body if body.startswith(b"plan") else None


def build() -> Plan:
    return Plan(b"plan of a network", "fp16")


def never() -> Plan:
    raise AssertionError("built although there is a plan")


@pytest.fixture
def cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> PlanCache:
    caplog.set_level(logging.INFO)
    return PlanCache(tmp_path / "plans")


def test_built_once_and_kept(cache: PlanCache, caplog: pytest.LogCaptureFixture) -> None:
    assert cache.get(KEY, build, take, BuildProgress())[0] == b"plan of a network"
    assert "there is no plan for fast-x2 at 640x360: none is cached" in caplog.text
    made, plan = cache.get(KEY, never, take, BuildProgress())
    assert made == b"plan of a network" and plan.precision == "fp16"
    (entry,) = cache.entries()
    assert entry.key == KEY and entry.bytes == len(b"plan of a network")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sdk": "tensorrt 10.13.0"}, "is for sdk tensorrt 10.3.0, here tensorrt 10.13.0"),
        ({"gpu": "Thor"}, "gpu Orin, compute capability 8.7, here Thor"),
        ({"checksum": "def"}, "the model has changed"),
        ({"options": "dla 0"}, "options , here dla 0"),
        ({"size": "1280x720"}, "none is cached"),
    ],
)
def test_a_plan_for_something_else_is_told_and_not_used(
    cache: PlanCache, caplog: pytest.LogCaptureFixture, change: dict[str, str], told: str
) -> None:
    cache.get(KEY, build, take, BuildProgress())
    caplog.clear()
    other = replace(KEY, **change)
    cache.get(other, build, take, BuildProgress())
    assert told in caplog.text
    assert len(cache.entries()) == 2
    cache.get(KEY, never, take, BuildProgress())


def test_of_several_the_newest_is_told_of(cache: PlanCache, caplog: pytest.LogCaptureFixture) -> None:
    for number, seconds in ((1, 90.0), (3, 30.0), (2, 60.0)):
        file = cache.put(replace(KEY, sdk=f"tensorrt 10.{number}.0"), Plan(b"plan", "fp16", seconds))
        os.utime(file, (number, number))
    assert [entry.seconds for entry in cache.entries()] == [30, 60, 90]
    cache.get(replace(KEY, sdk="tensorrt 11.0.0"), build, take, BuildProgress())
    assert "sdk tensorrt 10.3.0" in caplog.text


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda content: b"", "it is empty"),
        (lambda content: b"garbage", "does not begin as a plan"),
        (lambda content: content[: len(content) - 3], "its checksum is wrong"),
        (lambda content: content.replace(b'"precision"', b'"precisjon"'), "its header cannot be read"),
        (lambda content: content.replace(b"plan of", b"plot of"), "its checksum is wrong"),
    ],
    ids=["empty", "garbage", "cut", "header", "flipped"],
)
def test_a_damaged_plan_is_built_anew(
    cache: PlanCache, caplog: pytest.LogCaptureFixture, damage: object, told: str
) -> None:
    cache.get(KEY, build, take, BuildProgress())
    file = cache.folder / KEY.file
    file.write_bytes(damage(file.read_bytes()))  # type: ignore[operator]
    assert cache.get(KEY, build, take, BuildProgress())[0] == b"plan of a network"
    assert told in caplog.text
    cache.get(KEY, never, take, BuildProgress())


def test_a_plan_that_tensorrt_refuses_is_built_anew(cache: PlanCache, caplog: pytest.LogCaptureFixture) -> None:
    cache.put(KEY, Plan(b"foreign", "fp32"))
    assert cache.get(KEY, build, take, BuildProgress())[0] == b"plan of a network"
    assert "is refused by tensorrt 10.3.0" in caplog.text
    with pytest.raises(EngineError, match="built just now is refused"):
        cache.get(replace(KEY, size="16x16"), lambda: Plan(b"bad", ""), take, BuildProgress())


def test_an_unwritable_folder_costs_a_build_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "plans").write_text("a file where the folder should be")
    cache = PlanCache(tmp_path / "plans")
    assert cache.get(KEY, build, take, BuildProgress())[0] == b"plan of a network"
    assert "without the cache of plans" in caplog.text
    with pytest.raises(EngineError, match="cannot be written"):
        cache.put(KEY, build())


BUILDER = """
import sys, time
from pathlib import Path
from engines.tensorrt.plan_cache import Plan, PlanCache, PlanKey
from engines.support.progress import BuildProgress
folder = Path(sys.argv[1])
def build():
    with (folder / "builds").open("a") as file:
        file.write("x")
    time.sleep(0.5)
    return Plan(b"plan", "fp32")
print(PlanCache(folder).get(PlanKey("m", "c", "s", "v", "g", ""), build, lambda body: body, BuildProgress())[0])
"""


@pytest.mark.integration
def test_processes_that_start_at_once_build_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILDER, str(tmp_path)]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [one.communicate(timeout=60)[0] for one in running] == ["b'plan'\n"] * 3
    assert (tmp_path / "builds").read_text() == "x"


def test_waiting_for_another_build_can_be_told_and_stopped(cache: PlanCache) -> None:
    began, go = threading.Event(), threading.Event()

    def slow() -> Plan:
        began.set()
        assert go.wait(20)
        return build()

    other = threading.Thread(target=cache.get, args=(KEY, slow, take, BuildProgress()), daemon=True)
    other.start()
    assert began.wait(20)
    progress, ended = BuildProgress(), []

    def wait() -> None:
        with pytest.raises(EngineError, match="stopped"):
            PlanCache(cache.folder).get(KEY, never, take, progress)
        ended.append(True)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    until = time.monotonic() + 20
    while "waiting for another process" not in str(progress):
        assert time.monotonic() < until
        time.sleep(0.01)
    progress.cancel()
    waiting.join(20)
    go.set()
    other.join(20)
    assert ended == [True]


def test_a_lock_that_is_never_given_back(cache: PlanCache) -> None:
    with cache._locked(KEY, BuildProgress()), pytest.raises(EngineError, match="too long") as told:
        PlanCache(cache.folder, lock_timeout=0.3).get(KEY, build, take, BuildProgress())
    assert KEY.file in told.value.facts


def test_pruning_keeps_what_is_wanted(cache: PlanCache) -> None:
    other = replace(KEY, sdk="tensorrt 9")
    for key in (KEY, other):
        cache.get(key, build, take, BuildProgress())
    (cache.folder / "broken.plan").write_bytes(b"")
    (cache.folder / "x.123.part").write_bytes(b"")
    gone = cache.prune(lambda key: key.sdk == KEY.sdk)
    assert {path.name for path in gone} == {other.file, "broken.plan", "x.123.part"}
    assert [entry.key for entry in cache.entries()] == [KEY]
    assert {path.name for path in cache.folder.iterdir()} == {KEY.file, f"{KEY.file}.lock"}


def test_progress_tells_stage_time_and_the_last_time(cache: PlanCache, caplog: pytest.LogCaptureFixture) -> None:
    progress, told = BuildProgress(log_period=0.05), []

    def slow() -> Plan:
        progress.stage("Timing tactics 2/3")
        end = time.monotonic() + 60
        while caplog.text.count("Timing tactics 2/3") < 2:
            assert time.monotonic() < end, "the log falls silent"
            time.sleep(0.01)
        told.append(re.sub(r" \d+ s \(", " N s (", str(progress)))
        return build()

    assert str(progress) == ""
    cache.folder.mkdir()
    cache._write(replace(KEY, size="32x24"), Plan(b"plan", "fp16", seconds=94.0))
    cache.get(KEY, slow, take, progress)
    assert told == ["building the engine for fast-x2 at 640x360: Timing tactics 2/3, N s (last time 94 s)"]
    assert str(progress) == ""


def test_a_file_is_whole_or_not_there(cache: PlanCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.folder.mkdir()

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    cache.write("timing.cache", b"x" * 100)
    assert not list(cache.folder.iterdir())
    assert cache.read("timing.cache") == b""
