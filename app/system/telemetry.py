"""Temperature, power, clocks and load, read once a second by a thread of its own, and when to warn of them.

Nothing here ends a run: a service that is down, old or missing costs one line in the log.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack

from app.config.schema import TelemetryConfig
from app.system import sensors
from app.system.malloc_trim import find_malloc_trim
from app.system.sensors import Reading
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

WARNING_ENDS_BELOW = 0.97
"""A warning ends below this share of its threshold, so that it does not flicker."""


class Telemetry:
    """Watches the machine. Reading `current`, `hottest` and `warnings` never waits."""

    def __init__(
        self,
        settings: TelemetryConfig | None = None,
        *,
        period_s: float = sensors.READ_PERIOD_S,
        stale_after_s: float = 10.0,
        trim_period_s: float = 60.0,
    ) -> None:
        """Start the thread, which close() ends.

        Args:
            settings: The thresholds of warnings.
            period_s: Time between two readings.
            stale_after_s: Age from which a reading counts as none: a service may hang instead of failing.
            trim_period_s: Time between two rounds of returning free heap pages to the system.
        """
        self._settings = settings or TelemetryConfig()
        self._period_s, self._stale_after_s, self._trim_period_s = period_s, stale_after_s, trim_period_s
        # Written by the telemetry thread alone, each in one assignment; read by any thread without a lock.
        self.hottest: float | None = None
        """The highest temperature of the run, degrees Celsius."""
        self.warnings: tuple[str, ...] = ()
        """What is beyond its threshold, in words; empty while all is well."""
        self._latest: tuple[Reading, float] = Reading(), time.monotonic()  # with the moment it was read
        self._warned: set[str] = set()  # telemetry thread only
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="telemetry", daemon=True)
        self._thread.start()

    @property
    def current(self) -> Reading:
        """The latest reading; an empty one if there has been none for a while."""
        reading, read_at = self._latest
        return reading if time.monotonic() - read_at < self._stale_after_s else Reading()

    def _work(self) -> None:
        malloc_trim, trimmed_at = find_malloc_trim(), time.monotonic()
        with ExitStack() as stack:
            read = sensors.combined(stack)
            while not self._stop.is_set():
                reading = read()
                self._latest = reading, time.monotonic()
                known = [t for t in (self.hottest, reading.temperature) if t is not None]
                self.hottest = max(known, default=None)
                self._judge(reading)
                if malloc_trim is not None and time.monotonic() - trimmed_at >= self._trim_period_s:
                    malloc_trim(0)
                    trimmed_at = time.monotonic()
                self._stop.wait(self._period_s)

    def _judge(self, reading: Reading) -> None:
        """Warn once when something goes beyond its threshold, and say when it is back to normal."""
        limits = {
            "temperature": (reading.temperature, self._settings.warn_temperature, "C"),
            "power": (reading.power, self._settings.warn_power, "W"),
        }
        warnings = {}
        for name, (value, limit, unit) in limits.items():
            share = WARNING_ENDS_BELOW if name in self._warned else 1
            if value is not None and limit is not None and value > limit * share:
                warnings[name] = f"{name} {value:.0f} {unit}, above {limit:g} {unit}"
        if reading.throttle:
            warnings["clocks"] = f"throttled: {', '.join(reading.throttle)}"
        for name in warnings.keys() - self._warned:
            log_event(log, logging.WARNING, "machine_warning", "%(reason)s", what=name, reason=warnings[name])
        for name in self._warned - warnings.keys():
            log_event(log, logging.INFO, "machine_normal", "%(what)s back to normal", what=name)
        self._warned, self.warnings = set(warnings), tuple(warnings.values())

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._stop.set()
        self._thread.join(2 * self._period_s)
