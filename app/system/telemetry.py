"""Temperature, power, clocks and load, looked at once a second by a thread of its own, and when to warn.

Never fatal: a service that is down, old or missing costs one line in the log.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack

from app.config.schema import TelemetryConfig
from app.system import sensors
from app.system.sensors import Reading
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

STALE = 10.0
"""Seconds after which a reading is none any more: a service may hang instead of failing."""
CALM = 0.97
"""A warning ends below this share of its threshold, so that it does not flicker."""


class Telemetry:
    """Looks at the machine; `current` is always there at once."""

    def __init__(self, settings: TelemetryConfig | None = None) -> None:
        self._settings = settings or TelemetryConfig()
        self.latest, self._read_at = Reading(), time.monotonic()
        self.hottest: float | None = None
        """The highest temperature of the run."""
        self.warnings: tuple[str, ...] = ()
        """What is beyond its threshold, in words; empty when all is well."""
        self._warned: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="telemetry", daemon=True)
        self._thread.start()

    @property
    def current(self) -> Reading:
        """The latest reading; an empty one where there has been none for a while."""
        return self.latest if time.monotonic() - self._read_at < STALE else Reading()

    def _work(self) -> None:
        with ExitStack() as stack:
            read = sensors.combined(stack)
            while not self._stop.is_set():
                reading = read()
                self.latest, self._read_at = reading, time.monotonic()
                known = [t for t in (self.hottest, reading.temperature) if t is not None]
                self.hottest = max(known, default=None)
                self._judge(reading)
                self._stop.wait(sensors.PERIOD)

    def _judge(self, reading: Reading) -> None:
        """Warn once when something goes beyond its threshold, and say when it is over."""
        limits = {
            "temperature": (reading.temperature, self._settings.warn_temperature, "C"),
            "power": (reading.power, self._settings.warn_power, "W"),
        }
        told = {}
        for name, (value, limit, unit) in limits.items():
            if value is not None and limit is not None and value > limit * (CALM if name in self._warned else 1):
                told[name] = f"{name} {value:.0f} {unit}, above {limit:g} {unit}"
        if reading.throttle:
            told["clocks"] = f"held down: {', '.join(reading.throttle)}"
        for name in told.keys() - self._warned:
            log_event(log, logging.WARNING, "machine_warning", "%(reason)s", what=name, reason=told[name])
        for name in self._warned - told.keys():
            log_event(log, logging.INFO, "machine_normal", "%(what)s back to normal", what=name)
        self._warned, self.warnings = set(told), tuple(told.values())

    def close(self) -> None:
        """Idempotent."""
        self._stop.set()
        self._thread.join(2 * sensors.PERIOD)
