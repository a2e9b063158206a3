"""A Jetson's board and its service, at the vendor's end."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.system import sensors
from tests.fakes.jetson import Jtop, put


@pytest.fixture
def jtop(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Jtop]]:
    module = types.ModuleType("jtop")
    kind = type("Jtop", (Jtop,), {})
    module.jtop = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jtop", module)
    yield kind


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a Jetson Orin's kernel; returns the folder of its cooling device."""
    top = tmp_path / "class"
    put(top / "thermal/thermal_zone0", type="cpu-thermal", temp=48500)
    put(top / "thermal/thermal_zone1", type="gpu-thermal", temp=51250)
    put(top / "thermal/thermal_zone2", type="cv0-thermal", temp="")
    put(top / "thermal/thermal_zone3", type="battery", temp=99000)
    cooling = top / "thermal/cooling_device0"
    put(cooling, type="gpu-throttle-alert", cur_state=0)
    put(top / "thermal/cooling_device1", type="pwm-fan", cur_state=3)
    put(top / "hwmon/hwmon1", name="ina3221", in1_label="VDD_IN", in1_input=5000, curr1_input=1500)
    put(top / "hwmon/hwmon1", in2_label="VDD_CPU_GPU_CV", in2_input=5000, curr2_input=500)
    put(top / "devfreq/17000000.gpu", cur_freq=918000000)
    put(tmp_path / "devices/system/cpu/cpufreq/policy0", scaling_cur_freq=1510400)
    monkeypatch.setattr(sensors, "SYS_CLASS", top)
    return cooling
