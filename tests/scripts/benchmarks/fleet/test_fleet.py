"""The fleet: simulated cameras in real processes, what is compared, and a server that dies under them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.benchmarks.fleet import rivals, survival
from scripts.benchmarks.fleet.fleet import Fleet, FleetError, FleetResult, drive
from scripts.benchmarks.fleet.simulated_camera import COMPARE_STRIDE, expected, load, pictures
from scripts.benchmarks.fleet.survival import recovery
from scripts.serving.server import free_ports

pytestmark = pytest.mark.integration


def test_cameras_are_driven_and_report() -> None:
    result = drive(Fleet(2, "bicubic", (64, 48), fps=20, seconds=1, check=False))
    assert len(result.cameras) == 2
    for camera in result.cameras:
        assert 0 < camera["shown"] <= 20 and camera["unordered"] == 0 and 0 < camera["p50"] <= camera["p99"]
    assert "fairness" in result.table() and result.fairness > 0.5


def test_a_camera_that_cannot_start_is_told() -> None:
    with pytest.raises(FleetError, match="Camera 0 has not started") as told:
        drive(Fleet(1, "triton://127.0.0.1:1/fast-x2", (64, 48)))
    assert "simulated_camera.py" in told.value.fix


def test_a_configuration_that_cannot_be_read_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FleetError):
        drive(Fleet(1, "triton://127.0.0.1:1/fast-x2", (64, 48), config=tmp_path / "none.yaml"))
    assert "none.yaml" in capfd.readouterr().err


def test_cameras_have_frames_of_their_own() -> None:
    one, other = pictures(0, (32, 24)), pictures(1, (32, 24))
    images = one + other
    assert all((a != b).any() for i, a in enumerate(images) for b in images[:i])
    assert all((a == b).all() for a, b in zip(one, pictures(0, (32, 24)), strict=True))


def of(*rates: float) -> FleetResult:
    return FleetResult([{"fps": rate} for rate in rates])


def test_fairness() -> None:
    assert of(5, 5, 5).fairness == pytest.approx(1)
    assert of(9, 0, 0).fairness == pytest.approx(1 / 3)
    assert of(0, 0).fairness == 0


def test_recovery_is_from_ready_to_the_first_picture_of_the_server() -> None:
    camera: dict[str, Any] = {"makers": [(1.0, "triton"), (10.0, "bicubic"), (15.5, "triton")]}
    assert recovery(camera, 15.0) == pytest.approx(0.5)
    assert recovery(camera, 20.0) == 0
    assert recovery({"makers": [(1.0, "triton"), (10.0, "bicubic")]}, 15.0) == math.inf


@pytest.mark.parametrize("model", ["fast-x2", "fast-x2-fp16", "balanced-webcam-x2-int8"])
def test_the_naive_program_has_the_same_network(model: str) -> None:
    assert rivals.weights_of(model) == model.removesuffix("-fp16").removesuffix("-int8")


@pytest.mark.torch
@pytest.mark.parametrize("model", ["fast-x2", "balanced-x2", "fast-x4"])
def test_what_triton_is_compared_with_makes_the_same_picture(model: str) -> None:
    frame = pictures(0, (64, 48))[0]
    with rivals.naive(free_ports(1)[0], model) as address, load(address, (64, 48), 2, "auto", "none") as engine:
        engine.reserve()
        engine.submit(frame, None)  # type: ignore[arg-type]
        done = engine.collect(30)
        assert done is not None
        made = done[0].copy()
    away = {
        name: np.abs(
            made[::COMPARE_STRIDE, ::COMPARE_STRIDE].astype(int) - expected([frame], f"triton://anywhere/{name}")[0]
        ).mean()
        for name in ("fast-x2", "balanced-x2", "fast-x4")
        if name[-2:] == model[-2:]  # others make pictures of other sizes
    }
    assert away[model] < 1 and min(away, key=lambda name: away[name]) == model, away  # bf16 against fp32


@pytest.mark.triton
@pytest.mark.usefixtures("named_memory")
def test_the_servers_death_is_survived() -> None:
    told = survival.survive(2, 0.25, size=(64, 48), server_kills=1, downtime_s=0.3)
    assert told["kills"] == 1 and told["fallback"] > 0
    assert (told["wrong"], told["unordered"], told["regions_left"]) == (0, 0, [])
    # Promised are 300 ms and 2 s, which bench.py --fleet --survive measures; here the machine may be busy.
    assert told["longest_gap_ms"] < 10_000 and max(told["recovery_s"]) < 30
