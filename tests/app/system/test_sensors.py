"""What the machine says of itself: its load, heat and power, from whichever service or file has them."""

from __future__ import annotations

import sys
import time
import types
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.system import sensors
from app.system.sensors import Reading
from app.system.telemetry import Telemetry
from tests.fakes.jetson import Jtop, put
from tests.support.waiting import until


def read_once() -> Reading:
    watch = Telemetry()
    try:
        until(lambda: watch.current != Reading())
        return watch.current
    finally:
        watch.close()


def test_any_machine_tells_its_load() -> None:
    reading = read_once()
    assert reading.cpu is not None
    assert 0 <= reading.cpu <= 100


def test_the_hottest_processor_counts_and_the_battery_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    heat = {"coretemp": [50.0, 61.0], "BAT0": [99.0]}
    sensors = {k: [types.SimpleNamespace(current=c) for c in v] for k, v in heat.items()}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: sensors, raising=False)
    assert read_once().temperature == 61


def test_a_jetson_tells_watts(jtop: type[Jtop]) -> None:
    reading = read_once()
    assert (reading.temperature, reading.power, reading.gpu) == (48.5, 7.25, 81)
    assert jtop.closed == 1, "its thread goes on after its `with` block"


@pytest.mark.parametrize("fault", [RuntimeError("the service is down"), OSError("no socket")])
def test_a_service_that_is_down_costs_a_line(
    jtop: type[Jtop], fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    jtop.fault = fault
    assert read_once().cpu is not None
    assert str(fault) in caplog.text


def test_another_version_of_it_costs_a_line(jtop: type[Jtop], caplog: pytest.LogCaptureFixture) -> None:
    jtop.power = {"all": 7}  # type: ignore[dict-item]
    assert read_once().cpu is not None
    assert "cannot be read" in caplog.text


def test_the_kernels_files_tell_what_jetson_stats_would(board: Path) -> None:
    assert sensors.kernel() == Reading(51.25, 7.5, None, None, 1510.4, 918, ())
    put(board, cur_state=1)
    assert sensors.kernel().throttle == ("gpu-throttle-alert",)


def test_a_kernel_that_tells_nothing_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "SYS_CLASS", tmp_path / "none")
    assert sensors.kernel() == Reading()


def test_jetson_stats_comes_first_and_the_kernel_fills_in(jtop: type[Jtop], board: Path) -> None:
    reading = read_once()
    assert (reading.temperature, reading.power, reading.gpu, reading.gpu_mhz) == (48.5, 7.25, 81, 918)
    assert reading.throttle == ()


class NotSupported(Exception):
    """NVMLError_NotSupported."""


class Nvml(types.ModuleType):
    """nvidia-ml-py with one card in it (its own functions and constants, nvml.h)."""

    NVML_TEMPERATURE_GPU, NVML_CLOCK_GRAPHICS = 0, 0
    NVMLError_NotSupported = NotSupported
    mask = 0

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlInit": None,
            "nvmlShutdown": None,
            "nvmlDeviceGetHandleByIndex": "card",
            "nvmlDeviceGetTemperature": 63,
            "nvmlDeviceGetPowerUsage": 71500,
            "nvmlDeviceGetUtilizationRates": types.SimpleNamespace(gpu=37),
            "nvmlDeviceGetClockInfo": 1410,
            "nvmlDeviceGetCurrentClocksThrottleReasons": self.mask,
        }
        if name not in answers:
            raise AttributeError(name)
        return lambda *_: answers[name]


def test_cores_that_are_switched_off_cost_no_figures(board: Path) -> None:
    put(board.parents[2] / "devices/system/cpu/cpufreq/policy4", scaling_cur_freq="")
    assert sensors.kernel() == Reading(51.25, 7.5, None, None, 1510.4, 918, ())


def test_a_service_that_is_gone_leaves_no_old_figures(jtop: type[Jtop], board: Path) -> None:
    """jetson-stats goes on to show the last ones there were."""
    with ExitStack() as stack:
        read = sensors.combined(stack)
        assert read().temperature == 48.5
        jtop.lost = EOFError("Lost connection with jtop server")
        assert read().temperature == 51.25


def test_what_has_failed_once_is_asked_again(board: Path, caplog: pytest.LogCaptureFixture) -> None:
    rail = board.parents[1] / "hwmon/hwmon1"
    with ExitStack() as stack:
        read = sensors.combined(stack, retry_after_s=0.2)
        put(rail, in1_input="nonsense")
        assert [read().power, read().power] == [None, None]
        time.sleep(0.3)
        assert read().power is None and caplog.text.count("cannot be read") == 1
        put(rail, in1_input=5000)
        until(lambda: read().power == 7.5)


def test_a_card_in_a_pc_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sensors, "SYS_CLASS", tmp_path / "none")
    card = Nvml("pynvml")
    monkeypatch.setitem(sys.modules, "pynvml", card)
    card.mask = 0x1 | 0x4 | 0x20  # idle is none
    reading = read_once()
    assert (reading.temperature, reading.power, reading.gpu, reading.gpu_mhz) == (63, 71.5, 37, 1410)
    assert reading.throttle == ("power cap", "heat")


def test_a_gpu_that_tells_its_load_alone_is_asked_for_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """That of a Thor; jetson-stats brings nvidia-ml-py along."""

    def refuse(*_: Any) -> Any:
        raise NotSupported("Not Supported")

    card = Nvml("pynvml")
    for name in ("Temperature", "PowerUsage", "ClockInfo", "CurrentClocksThrottleReasons"):
        setattr(card, f"nvmlDeviceGet{name}", refuse)
    monkeypatch.setitem(sys.modules, "pynvml", card)
    monkeypatch.setattr(sensors, "SYS_CLASS", tmp_path / "none")
    reading = read_once()
    assert (reading.gpu, reading.power, reading.gpu_mhz, reading.throttle) == (37, None, None, None)
    assert not caplog.text


def test_a_card_that_falls_off_the_bus_costs_a_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    card = Nvml("pynvml")
    card.nvmlDeviceGetPowerUsage = lambda _: 1 / 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pynvml", card)
    assert read_once().cpu is not None
    assert caplog.text.count("cannot be read") == 1
