"""The queueing simulation against what is known without it, and the network's arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.catalog import shipped as catalog
from scripts.benchmarks.fleet.queueing import ServerModel, simulate
from scripts.scale import BURST_SIZES, CAMERA_COUNTS, capacity, every, main, measure_service, table, wire_bits

pytestmark = pytest.mark.integration


def test_one_camera_waits_for_nobody() -> None:
    outcome = simulate(ServerModel(1, 30, fixed=0.001, each=0.01, gather=0.0))
    assert outcome.p50 == pytest.approx(11, abs=0.1) and outcome.p99 == pytest.approx(11, abs=0.1)
    assert outcome.fps == pytest.approx(30, rel=0.03) and outcome.dropped == outcome.late == 0
    assert simulate(ServerModel(1, 30, fixed=0.001, each=0.01, gather=0.004)).p50 == pytest.approx(15, abs=0.1)


def test_a_device_that_is_too_slow_gives_what_it_can() -> None:
    outcome = simulate(ServerModel(8, 30, each=0.02, batch=1, gather=0.0))
    assert outcome.fps == pytest.approx(50, rel=0.03)
    assert outcome.dropped == pytest.approx(1 - 50 / 240, abs=0.03)
    assert outcome.p50 > 250 and outcome.late > 0  # two frames of each of eight cameras are in the queue
    batched = simulate(ServerModel(8, 30, fixed=0.018, each=0.002, batch=8, gather=0.0))
    assert batched.fps > 3 * outcome.fps


@settings(max_examples=20)
@given(
    cameras=st.integers(1, 12),
    fps=st.sampled_from([5.0, 25.0, 60.0]),
    each=st.floats(0.0005, 0.05),
    batch=st.integers(1, 8),
    depth=st.integers(1, 3),
)
def test_nothing_is_made_from_nothing(cameras: int, fps: float, each: float, batch: int, depth: int) -> None:
    model = ServerModel(cameras, fps, 0.001, each, batch, depth=depth)
    outcome = simulate(model, 4.0)
    assert outcome.fps <= cameras * fps * 1.1 + 1
    assert outcome.fps <= 1.05 / (each + 0.001 / batch) + 1
    assert 0 <= outcome.dropped <= 1 and 0 <= outcome.late <= 1
    assert outcome.p99 >= outcome.p50 >= 1000 * (each + 0.001) - 0.01


def test_capacity() -> None:
    model = ServerModel(1, 30, each=0.004, batch=1, gather=0.0)
    most = capacity(model)
    assert 6 <= most <= math.floor(1 / 0.004 / 30)
    assert capacity(replace(model, each=0.05)) == 0
    assert capacity(replace(model, each=0.002)) >= 2 * most - 1


def test_no_server_holds_more_than_its_full_batches_carry() -> None:
    model = ServerModel(1, 30, fixed=0.0012, each=0.0004, gather=0.1 / 30)
    assert replace(model, cameras=61).overloaded and not replace(model, cameras=60).overloaded  # 1,818 frames a second
    most = capacity(model)
    assert 50 < most <= 60


def test_each_row_of_the_table_keeps_what_holding_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.scale.CAMERA_COUNTS", (1, 20, 61, 200, 2000))
    pattern = ServerModel(1, 30, fixed=0.0012, each=0.0004, gather=0.1 / 30)
    for model in (pattern, replace(pattern, each=0.004), replace(pattern, fixed=0.0, each=0.0069)):
        rows = [line.split() for line in table(model, (64, 48), 2, 10e9).splitlines()[3:]]
        assert len(rows) == 5
        for row in rows:
            assert sum(float(share.rstrip("%")) for share in row[5:7]) < 0.1, row


def test_the_search_for_the_capacity_ends_where_a_picture_costs_nothing() -> None:
    assert (
        capacity(ServerModel(1, 0.1, each=0.0, gather=0.0)) == CAMERA_COUNTS[-1]
    )  # at 0.1 fps, as so many cameras take long


def test_the_network() -> None:
    bits = wire_bits((64, 48), 2)
    assert bits["raw"].up == 64 * 48 * 3 * 8 and bits["raw"].down == 4 * bits["raw"].up
    assert 0 < bits["jpeg"].down < bits["raw"].down


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--service", "1,0.8", "--size", "64x48"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert "1.0 + 0.80 n ms" in told[1] and told[-1].split()[0] == "10000"
    assert main(["--service", "0,90", "--size", "64x48"]) == 0
    assert "Not even one" in capsys.readouterr().out
    assert main(["--measure", "triton://127.0.0.1:1/fast-x2"]) == 2
    assert "There is no Triton server" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--service", value) for value in ("1", "0,0", "-1,2", "1,inf", "1,2,3")),
        *(("--check", value) for value in ("0", "1,x")),
        *((option, "0") for option in ("--fps", "--batch", "--link")),
    ],
)
def test_an_amount_that_cannot_be_is_refused(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([f"{option}={value}"])
    assert ended.value.code == 2 and f"argument {option}: it must be" in capsys.readouterr().err


def test_a_row_for_every_model_by_this_machines_engine() -> None:
    head, line, *rows = every(ServerModel(1, 30), [(48, 32)])
    assert head.count("|") == line.count("|") == 6 and len(rows) == len(catalog.families())
    for row, (models, _) in zip(rows, catalog.families(), strict=True):
        name, picture, cost, most, mbit = (cell.strip() for cell in row.strip("|").split("|"))
        assert name == f"{models[0].name}-x{models[0].scale}" and picture == "48x32"
        assert float(cost.partition(" + ")[2].removesuffix(" n")) > 0 and int(most) >= 0
        assert float(mbit.partition(" / ")[0]) == pytest.approx(48 * 32 * 24 * models[0].scale ** 2 * 30 / 1e6, abs=0.5)


def test_an_engine_is_timed_by_bursts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    fixed, each, scale = measure_service("bicubic", (64, 48), "fast")
    assert 0 <= fixed < 1 and 0 < each < 1 and scale == 2


@pytest.mark.parametrize(
    ("options", "scale"),
    [(["--model", "fast-x4"], 4), (["--service", "1,5"], 2), (["--service", "1,5", "--scale", "3"], 3)],
)
def test_the_network_is_that_of_the_model(
    options: list[str], scale: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("scripts.scale.CAMERA_COUNTS", (1, 2))
    assert main([*options, "--size", "160x90"]) == 0
    answers = 160 * 90 * 24 * scale**2 * 30 / 1e6
    assert f"a camera's answers: {answers:.0f} Mbit/s raw" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--model", "fast-x4"], ["--measure", "triton://127.0.0.1:1/m"], ["--every"]])
def test_of_what_is_measured_nobody_gives_the_scale(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*options, "--scale", "4"])
    assert ended.value.code == 2 and "--scale: it needs --service" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--service", "1,2"], ["--every"]])
def test_a_configuration_that_nobody_would_read_is_refused(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*options, "--config", "kiosk.yaml"])
    assert ended.value.code == 2 and "--config: it needs --measure" in capsys.readouterr().err


def test_no_noise_makes_a_picture_cost_less_than_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([moment for count in BURST_SIZES * 6 for moment in (0.0, 1 / count)])  # the more, the faster
    monkeypatch.setattr("scripts.scale.time.perf_counter", lambda: next(moments))
    fixed, each, _ = measure_service("bicubic", (64, 48), "fast")
    assert fixed > 0 and 0 < each < 0.001
