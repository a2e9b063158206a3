"""The bench: what its lines say, how its loops run at a tiny size, what it makes of a run of the app."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

import engines
from app.system.malloc_trim import find_glibc_function
from engines.request import EngineRequest
from scripts.bench import main
from scripts.benchmarks import timing
from scripts.benchmarks.single_build import Bench, BenchSettings, table
from scripts.benchmarks.timing import AppRun, EngineLoop, alternate, growth, noise
from scripts.common.arguments import size
from scripts.common.checkout import ROOT
from scripts.common.figure import Figure
from scripts.common.machine import machine
from scripts.common.results import write_json

TINY = (32, 24)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_figure_says_whether_its_target_is_met() -> None:
    assert Figure("x", 4.0, "x", 4.0).met and not Figure("x", 3.99, "x", 4.0).met
    assert Figure("y", 8.0, "ms", 8.0, at_least=False).met and not Figure("y", 8.1, "ms", 8.0, at_least=False).met
    assert Figure("z", 1.0).met is None
    assert str(Figure("ratio", 3.0, "x", 4.0)).split() == ["ratio", ">=", "4", "x", "3.00", "x", "NO"]
    assert str(Figure("added", 3.0, "ms", 8.0, at_least=False)).split() == [
        "added",
        "<=",
        "8",
        "ms",
        "3.00",
        "ms",
        "yes",
    ]
    assert str(Figure("frames", 3.0, "fps")).split() == ["frames", "3.00", "fps"]


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("name", ["bicubic", "openvino"])
def test_an_engine_is_looped(name: str, depth: int) -> None:
    with engines.load(EngineRequest(name, "fast", TINY, depth=depth)) as engine:
        loop = EngineLoop(engine, noise(TINY))
        assert 0 < loop.frames(20) < 1000
        assert loop.seconds(0.01) > 0  # a second round goes on with the slots as the first left them
        assert len(loop.busy) >= 28 and all(busy >= 0 for busy in loop.busy)


@pytest.mark.torch
def test_pytorch_is_looped_in_its_better_layout() -> None:
    from engines.catalog import shipped as catalog
    from scripts.benchmarks.timing import EagerLoop

    loop = EagerLoop(catalog.find("fast"), noise(TINY), threads=1)
    assert loop.layout in ("contiguous", "channels_last")
    assert 0 < loop.frames(3) < 10_000 and loop.seconds(0.01) > 0


@pytest.mark.integration
@pytest.mark.skipif(find_glibc_function("mallopt") is None, reason="the C library is not glibc")
def test_what_was_freed_is_used_again() -> None:
    told = """
import resource
from scripts.benchmarks import timing
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
timing.keep_memory()
bytes([1]) * (48 << 20)  # more than glibc ever keeps by itself
before = faults()
bytes([1]) * (48 << 20)
print(faults() - before)
"""
    result = subprocess.run([sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert int(result.stdout) < 100, result.stderr  # in place of 12,288


def test_what_is_compared_is_measured_in_turns() -> None:
    order: list[str] = []

    def loop(name: str) -> float:
        order.append(name)
        return float(len(order))

    assert alternate([lambda: loop("a"), lambda: loop("b")], 3) == [[1, 3, 5], [2, 4, 6]]
    assert order == list("ababab")


def test_growth_of_memory_between_two_frames() -> None:
    mib = 2**20
    # 100 frames a second from the second 2.0 to 52.0: frame 500 at 7.0, frame 5000 at 52.0.
    memory = [(t / 10, int((300 if t < 20 else 100 + (t / 10 - 2) * 0.2) * mib)) for t in range(520)]
    run = AppRun({"seconds": 50.0, "fps_out": 100.0}, [*memory, (52.0, 0)])
    assert growth(run, 500, 5000) == pytest.approx(45 * 0.2, abs=0.2)
    flat = AppRun(run.stats, [(moment, 100 * mib) for moment, _ in memory])
    assert growth(flat, 500, 5000) == 0


@pytest.mark.integration  # asks the system what machine this is, and so starts a process
def test_one_run_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    short = ["--size", "32x24", "--threads", "1", "--seconds", "0.2", "--only", "engine"]
    assert main([*short, "--json", str(file)]) == 0
    told = json.loads(file.read_text())
    names = [figure["name"] for figure in told["figures"]]
    assert names[:2] == ["engine, ms a frame", "engine, frames a second"]
    # What the engine chose is held against the exact file, unless that is what it chose.
    chosen = told["details"]["engine"]["model"]
    assert [name.split(",")[0] for name in names[2:]] == ([] if chosen == "fast-x2" else ["the same with fast-x2"])
    assert told["settings"]["size"] == [32, 24] and told["settings"]["threads"] == 1
    assert told["machine"]["processor"] and told["machine"]["versions"]["openvino"]
    assert told["details"]["engine"]["output"] == [64, 48] and len(told["details"]["engine_ms"]["rounds"]) == 5
    shown = capsys.readouterr().out
    assert "32x24, 1 threads" in shown and "engine, ms a frame" in shown


@pytest.mark.integration
def test_starts_are_timed_and_parts_may_be_named_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    short = ["--size", "32x24", "--threads", "1", "--seconds", "0.1", "--rounds", "1", "--engine", "bicubic"]
    assert main([*short, "--only", "engine", "--only", "start", "--json", str(file)]) == 0
    told = json.loads(file.read_text())
    assert told["settings"]["parts"] == ["engine", "start"] and len(told["details"]["engine_ms"]["rounds"]) == 1
    (wall_s,), (cpu_s,) = told["details"]["start_s"]["wall"], told["details"]["start_s"]["cpu"]
    assert wall_s > 0 and cpu_s > 0
    assert [(one["name"], one["value"]) for one in told["figures"][-2:]] == [
        ("start and one frame, clock", wall_s),
        ("start and one frame, processor", cpu_s),
    ]


@pytest.mark.integration
def test_the_comparison_is_notes_without_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else there(name))
    parts = ("engine", "eager", "isolate")
    bench = Bench(BenchSettings(size=TINY, seconds=0.1, rounds=1, model="fast-x2-fp32", parts=parts))
    bench.run()
    assert len(bench.figures) == 4 and "PyTorch" in bench.notes[0]
    assert "left out: eager" in table(bench)


def test_what_cannot_run_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "engine", "--model", "fats"]) == 2
    told = capsys.readouterr()
    assert "There is no model called fats" in told.err and told.out == ""


def test_where_the_figures_cannot_be_written_nothing_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for more in ([], ["--fleet", "1", "--engine", "triton://127.0.0.1:1/fast-x2"]):
        assert main(["--only", "engine", "--json", str(tmp_path / "file/bench.json"), *more]) == 2
        told = capsys.readouterr()
        assert "bench.json cannot be written" in told.err and "ms a frame" not in told.out
    write_json(tmp_path / "new/bench.json", {"a": 1})
    assert json.loads((tmp_path / "new/bench.json").read_text()) == {"a": 1}


@pytest.mark.integration  # the help tells the number of cores, for which the system is asked by a process
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--seconds", "0"], "--seconds: it must be a number above 0, not 0"),
        (["--seconds", "nan"], "not nan"),
        (["--seconds", "soon"], "not soon"),
        (["--threads", "0"], "--threads: it must be a whole number of at least 1, not 0"),
        (["--fleet", "0"], "--fleet: it must be a whole number of at least 1, not 0"),
        (["--fleet", "2.5"], "not 2.5"),
        (["--survive", "1"], "--survive needs --fleet N"),
        (["--config", "kiosk.yaml"], "--config needs --fleet N --engine triton://"),
        (["--config", "kiosk.yaml", "--fleet", "2"], "--config needs --fleet N --engine triton://"),
    ],
)
def test_an_amount_that_cannot_be_is_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and told in capsys.readouterr().err


@pytest.mark.integration
def test_an_app_that_fails_tells_why() -> None:
    with pytest.raises(timing.BenchError) as told:
        timing.run_app(["--source", "missing.mkv"], limit=10)
    assert "missing.mkv" in told.value.facts and "app.run" in told.value.fix


@pytest.mark.integration
def test_the_app_is_run_and_watched(tmp_path: Path) -> None:
    clip = timing.make_clip(tmp_path / "clip.mkv", (64, 48), 12)
    run = timing.run_app(["--source", str(clip), "--loop", "--frames", "30", "--engine", "bicubic"], limit=10)
    assert run.stats["frames_shown"] == 30 and run.stats["fps_out"] > 0
    assert max(size for _, size in run.memory) > 2**20


def test_machine_and_size() -> None:
    assert machine()["cores"] >= 1
    assert size("640x360") == size("640X360") == (640, 360)
    with pytest.raises(argparse.ArgumentTypeError, match="WIDTHxHEIGHT, such as 640x360, not 640"):
        size("640")
