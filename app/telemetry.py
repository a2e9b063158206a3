"""Telemetry: temperature, power and load, from jetson-stats where it runs, else from what psutil sees.

Never fatal: a service that is down, old or missing costs one line in the log.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psutil

log = logging.getLogger(__name__)

PERIOD = 1.0


@dataclass(frozen=True)
class Reading:
    """One look at the machine; None where it does not tell."""

    temperature: float | None = None
    """Of the hottest sensor of the processor or GPU, degrees Celsius."""
    power: float | None = None
    """Of the whole board, watts."""
    cpu: float | None = None
    """Load of all cores together, percent of all of them."""
    gpu: float | None = None
    """Load, percent."""


# Names of the sensors that stand for the processor: Intel, AMD, Arm boards, Jetson's thermal zones.
PROCESSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu", "gpu", "soc", "tj")


def from_psutil() -> Reading:
    """What psutil knows on any machine."""
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    heat = [
        one.current
        for name, group in sensors.items()
        if name.lower().startswith(PROCESSORS)
        for one in group
        if one.current
    ]
    return Reading(temperature=max(heat, default=None), cpu=psutil.cpu_percent())


def jetson(stack: ExitStack) -> Callable[[], Reading] | None:
    """A reader of jetson-stats, kept open by `stack`; None where it is not installed or its service is down."""
    try:
        from jtop import jtop
    except ImportError:
        return None
    try:
        board: Any = stack.enter_context(jtop(interval=PERIOD))
    except Exception as error:  # jetson-stats raises many kinds, and none of them may stop a kiosk
        log.warning("no figures from jetson-stats (%s); is its service up? sudo systemctl restart jtop", error)
        return None

    def read() -> Reading:
        heat = [t["temp"] for t in board.temperature.values() if t.get("online", True) and t["temp"] > 0]
        loads = [gpu["status"]["load"] for gpu in board.gpu.values()]
        return Reading(
            temperature=max(heat, default=None),
            power=board.power["tot"]["power"] / 1000,  # jetson-stats tells milliwatts
            cpu=psutil.cpu_percent(),
            gpu=max(loads, default=None),
        )

    return read


class Telemetry:
    """Looks at the machine once a second, in a thread of its own; `latest` is always there at once."""

    def __init__(self) -> None:
        self.latest = Reading()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="telemetry", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        with ExitStack() as stack:
            read = jetson(stack) or from_psutil
            while not self._stop.is_set():
                try:
                    self.latest = read()
                except Exception as error:
                    log.warning("temperature and power cannot be read (%s); going on without", error)
                    if read is from_psutil:
                        return
                    read = from_psutil
                self._stop.wait(PERIOD)

    def close(self) -> None:
        """Idempotent."""
        self._stop.set()
        self._thread.join(2 * PERIOD)
