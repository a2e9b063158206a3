"""Real psutil, and a jetson-stats of our own making, good and bad."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from app.config.schema import TelemetryConfig
from app.system import sensors
from app.system.sensors import Reading
from app.system.telemetry import Telemetry
from tests.support.waiting import until


def test_it_ends() -> None:
    watch = Telemetry(period_s=0.5)
    watch.close()
    watch.close()
    assert not watch._thread.is_alive()


def test_thresholds_warn_once_and_end_without_flicker(board: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    watch = Telemetry(TelemetryConfig(warn_temperature=60, warn_power=20))
    watch.close()
    temperatures = [59, 61, 59.5, 61, 57]
    warned = []
    for temperature in temperatures:
        watch._judge(Reading(temperature=temperature, power=5))
        warned.append(bool(watch.warnings))
    assert warned == [False, True, True, True, False]
    assert caplog.text.count("temperature 61 C, above 60 C") == 1
    assert caplog.text.count("temperature back to normal") == 1
    watch._judge(Reading(power=21, throttle=("heat",)))
    assert watch.warnings == ("power 21 W, above 20 W", "throttled: heat")


def test_the_hottest_moment_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([50.0, 61.0, None])

    def kernel() -> Reading:
        return Reading(temperature=next(told, 40.0))

    monkeypatch.setattr(sensors, "combined", lambda stack: kernel)
    watch = Telemetry(period_s=0.01)
    until(lambda: watch.current.temperature == 40)
    watch.close()
    assert watch.hottest == 61


def test_a_service_that_hangs_leaves_no_old_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, readings = threading.Event(), iter([Reading(temperature=50)])

    def read() -> Reading:
        if (reading := next(readings, None)) is not None:
            return reading
        hangs.wait(60)
        return Reading()

    monkeypatch.setattr(sensors, "combined", lambda stack: read)
    watch = Telemetry(period_s=0.01, stale_after_s=0.5)
    until(lambda: watch._latest[0] == Reading(temperature=50))
    until(lambda: watch.current == Reading())
    assert watch.hottest == 50
    hangs.set()
    watch.close()
