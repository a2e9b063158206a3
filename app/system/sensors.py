"""Temperature, power, clocks and load, from jetson-stats, the kernel's files, NVML and psutil.

Each of the four is a function that returns a Reading, with None for what it does not know; combined() asks them in
that order.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import psutil

from engines.support.backoff import Backoff
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

SYS_CLASS = Path("/sys/class")
READ_PERIOD_S = 1.0
SENSOR_RETRY_AFTER_S = 60.0
"""Time until a reader that has failed is tried again: a sensor may come back."""


@dataclass(frozen=True)
class Reading:
    """The state of the machine at one moment; None for what it does not report."""

    temperature: float | None = None
    """Of the hottest sensor of the processor or GPU, degrees Celsius."""
    power: float | None = None
    """Of the whole board, or of the GPU where only that is measured, watts."""
    cpu: float | None = None
    """Load of all cores together, percent of all of them."""
    gpu: float | None = None
    """Load, percent."""
    cpu_mhz: float | None = None
    """Clock of the fastest core just now."""
    gpu_mhz: float | None = None
    throttle: tuple[str, ...] | None = None
    """Why clocks are held down just now; empty if they are not."""


Read = Callable[[], Reading]

# Names of the sensors that stand for the processor: Intel, AMD, Arm boards, Jetson's thermal zones.
PROCESSOR_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu", "gpu", "soc", "tj", "x86_pkg")
INPUT_RAILS = ("VDD_IN", "VIN", "POM_5V_IN")
"""Rails of the INA3221 that everything else hangs on (Jetson Linux Developer Guide, power monitors)."""
GPU_DEVICE_SUFFIXES = (".gpu", ".ga10b", ".gv11b", ".gp10b", ".gb10b")
"""How the name of a Jetson's GPU ends among the devices of variable frequency."""

# nvml.h, nvmlClocksEventReason*; an idle GPU and a user's own limit are no warnings.
NVML_REASONS = {0x4: "power cap", 0x8: "slowdown", 0x20: "heat", 0x40: "heat (hardware)", 0x80: "power brake"}


def combined(stack: ExitStack, *, retry_after_s: float = SENSOR_RETRY_AFTER_S) -> Read:
    """Return a function that reads all that this machine reports, each figure from the first reader that knows it.

    `stack` keeps services open. A reader that fails is left out for `retry_after_s`; it is logged once until it works
    again.
    """
    found = [jetson(stack), kernel, nvml(stack), from_psutil]
    readers: list[Read] = [reader for reader in found if reader is not None]
    retries = {reader: Backoff(retry_after_s) for reader in readers}
    failing: set[Read] = set()

    def read() -> Reading:
        readings = []
        for reader in readers:
            if not retries[reader].due(time.monotonic()):
                continue
            try:
                readings.append(reader())
                failing.discard(reader)
            except Exception as error:  # these packages raise many kinds, and none may stop a kiosk
                if reader not in failing:
                    name = reader.__name__
                    message = "temperature and power cannot be read (%(reader)s: %(reason)s); continuing without"
                    log_event(log, logging.WARNING, "sensor_failed", message, reader=name, reason=str(error))
                failing.add(reader)
                retries[reader].failed(time.monotonic())
        return first_known(readings)

    return read


def first_known(readings: Sequence[Reading]) -> Reading:
    """Combine readings: each figure is that of the first one that has it."""
    values: dict[str, Any] = {}
    for field in fields(Reading):
        known = (getattr(reading, field.name) for reading in readings)
        values[field.name] = next((value for value in known if value is not None), None)
    return Reading(**values)


def from_psutil() -> Reading:
    """Read what psutil knows on any machine."""
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    heat = [
        sensor.current
        for name, group in sensors.items()
        if name.lower().startswith(PROCESSOR_SENSORS)
        for sensor in group
        if sensor.current
    ]
    clock = psutil.cpu_freq() if hasattr(psutil, "cpu_freq") else None
    return Reading(
        temperature=max(heat, default=None),
        cpu=psutil.cpu_percent(),
        cpu_mhz=round(clock.current) if clock and clock.current else None,
    )


def kernel() -> Reading:
    """Read the kernel's own files, which a Jetson has even where jetson-stats is not installed."""
    heat = [
        float(temp) / 1000
        for folder in sorted(SYS_CLASS.glob("thermal/thermal_zone*"))
        if _text(folder / "type").lower().startswith(PROCESSOR_SENSORS) and (temp := _text(folder / "temp"))
    ]
    clocks = [
        float(freq) / 1000
        for path in SYS_CLASS.parent.glob("devices/system/cpu/cpufreq/policy*/scaling_cur_freq")
        if (freq := _text(path))  # empty for cores that a power mode has switched off
    ]
    gpus = [
        float(freq) / 1e6
        for folder in SYS_CLASS.glob("devfreq/*")
        if folder.name.endswith(GPU_DEVICE_SUFFIXES) and (freq := _text(folder / "cur_freq"))
    ]
    return Reading(
        temperature=max((t for t in heat if t > 0), default=None),
        power=_rails(),
        cpu_mhz=max(clocks, default=None),
        gpu_mhz=max(gpus, default=None),
        throttle=_throttles(),
    )


def _rails() -> float | None:
    """Return watts by the board's INA3221: its input rail, else the sum of all rails."""
    watts: dict[str, float] = {}
    for chip in SYS_CLASS.glob("hwmon/hwmon*"):
        if _text(chip / "name") != "ina3221":
            continue
        for label in chip.glob("in*_label"):
            number, name = label.name[2:-6], _text(label)
            volts, amperes = _text(chip / f"in{number}_input"), _text(chip / f"curr{number}_input")
            if volts and amperes and name.upper() not in ("NC", ""):
                watts[name] = float(volts) * float(amperes) / 1e6  # millivolts, milliamperes
    whole = [watts[name] for name in INPUT_RAILS if name in watts]
    return round(whole[0] if whole else sum(watts.values()), 3) if watts else None


def _throttles() -> tuple[str, ...] | None:
    """Return the cooling devices that hold something down now; None if the kernel has no cooling devices."""
    devices = [
        folder for folder in SYS_CLASS.glob("thermal/cooling_device*") if "fan" not in _text(folder / "type").lower()
    ]
    if not devices:
        return None
    active = [_text(folder / "type") for folder in devices if int(_text(folder / "cur_state") or 0) > 0]
    return tuple(sorted(set(active)))


def _text(path: Path) -> str:
    """Return a file's content, or "" where reading fails, as it does for a sensor that is switched off."""
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    return ""


def nvml(stack: ExitStack) -> Read | None:
    """Return a reader of a PC's first NVIDIA card; None if there is none or the package nvidia-ml-py is missing."""
    try:
        import pynvml

        pynvml.nvmlInit()
        stack.callback(pynvml.nvmlShutdown)
        card = pynvml.nvmlDeviceGetHandleByIndex(0)
    except Exception as error:  # the package, the driver or the card is not there
        log.debug("no figures from NVML: %s", error)
        return None

    def ask(query: Callable[..., Any], *arguments: Any) -> Any:
        """Return None for what this GPU does not report: an Orin's reports nothing, a Thor's only its load."""
        with contextlib.suppress(pynvml.NVMLError_NotSupported):
            return query(card, *arguments)
        return None

    def nvml_reading() -> Reading:
        mask, watts = ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons), ask(pynvml.nvmlDeviceGetPowerUsage)
        load = ask(pynvml.nvmlDeviceGetUtilizationRates)
        return Reading(
            temperature=ask(pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU),
            power=None if watts is None else watts / 1000,  # milliwatts
            gpu=None if load is None else load.gpu,
            gpu_mhz=ask(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_GRAPHICS),
            throttle=None if mask is None else tuple(name for bit, name in NVML_REASONS.items() if mask & bit),
        )

    return nvml_reading


def jetson(stack: ExitStack) -> Read | None:
    """Return a reader of jetson-stats, kept open by `stack`; None if it is not installed or its service is down."""
    try:
        from jtop import jtop
    except ImportError:
        return None
    try:
        board: Any = stack.enter_context(jtop(interval=READ_PERIOD_S))
        stack.callback(board.close)  # else its thread and its connection stay, and each reload adds others
    except Exception as error:  # jetson-stats raises many kinds, and none of them may stop a kiosk
        message = "no figures from jetson-stats (%(reason)s); is its service running? sudo pip3 install jetson-stats"
        log_event(log, logging.WARNING, "sensor_failed", message, reader="jetson-stats", reason=str(error))
        return None

    def jetson_stats() -> Reading:
        if not board.ok(spin=True):  # raises what has ended its thread, after which its figures no longer change
            raise RuntimeError("it has ended")
        heat = [t["temp"] for t in board.temperature.values() if t.get("online", True) and t["temp"] > 0]
        return Reading(
            temperature=max(heat, default=None),
            power=board.power["tot"]["power"] / 1000,  # milliwatts
            gpu=max((gpu["status"]["load"] for gpu in board.gpu.values()), default=None),
            gpu_mhz=max(_clocks(board.gpu.values()), default=None),
        )

    return jetson_stats


def _clocks(devices: Any) -> Iterator[float]:
    """Yield megahertz, where this version of jetson-stats reports them."""
    for device in devices:
        with contextlib.suppress(KeyError, TypeError):
            yield device["freq"]["cur"] / 1000  # kilohertz
