"""What tells of a Jetson's state: jetson-stats' service and the kernel's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar


class Jtop:
    """What jetson-stats 4 shows of an Orin Nano, cut to what we read (its documentation, "jtop" reference)."""

    fault: Exception | None = None
    lost: Exception | None = None
    closed = 0
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

    def close(self) -> None:
        type(self).closed += 1

    def ok(self, spin: bool) -> bool:
        assert spin, "it would wait for the next figures"
        if self.lost:
            raise self.lost
        return True


def put(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")
