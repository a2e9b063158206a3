"""Telemetry: real psutil, and a jetson-stats of our own making, good and bad."""

from __future__ import annotations

import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import psutil
import pytest

from app import telemetry
from app.telemetry import Reading, Telemetry


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "nothing happened within 10 s"
        time.sleep(0.01)


class Jtop:
    """What jetson-stats 4 shows of an Orin Nano, cut to what we read (its documentation, "jtop" reference)."""

    fault: Exception | None = None
    temperature: ClassVar = {"cpu": {"temp": 48.5, "online": True}, "cv0": {"temp": -256, "online": False}}
    power: ClassVar = {"rail": {}, "tot": {"power": 7250, "avg": 7100}}
    gpu: ClassVar = {"gpu": {"status": {"load": 81.0}}}

    def __init__(self, interval: float) -> None:
        self.interval = interval

    def __enter__(self) -> Jtop:
        if self.fault:
            raise self.fault
        return self

    def __exit__(self, *_: Any) -> None:
        pass


@pytest.fixture
def jtop(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Jtop]]:
    module = types.ModuleType("jtop")
    kind = type("Jtop", (Jtop,), {})
    module.jtop = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jtop", module)
    yield kind


def read_once() -> Reading:
    watch = Telemetry()
    try:
        until(lambda: watch.latest != Reading())
        return watch.latest
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


def test_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "PERIOD", 0.5)
    watch = Telemetry()
    watch.close()
    watch.close()
    assert not watch._thread.is_alive()
