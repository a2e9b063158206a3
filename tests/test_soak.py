"""A short soak: the real kiosk, broken in a few ways; the long one is run by hand (docs/reliability.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scripts.puppet import draw_code, read_code, scene
from scripts.soak import HEAP, ROOT, Soak, judge, report, slope


@pytest.mark.parametrize("size", [(320, 180), (640, 360), (256, 144)])
def test_the_code_on_a_picture_is_read_back(size: tuple[int, int]) -> None:
    for count in (0, 1, 77, 255):
        assert read_code(scene(count, size)) == (count, False)
    assert read_code((scene(5, size) * 0.35).astype("uint8")) == (5, True)
    blank = scene(5, size)
    blank[:] = 100
    assert read_code(blank) is None
    draw_code(blank, 9)
    assert read_code(blank) == (9, False)


def test_the_heap_is_the_kiosk_s() -> None:
    service = (ROOT / "configs/livesr-kiosk.service").read_text()
    assert "Environment=" + " ".join(f"{name}={value}" for name, value in HEAP.items()) + "\n" in service
    compose = yaml.safe_load((ROOT / "configs/kiosk.compose.yaml").read_text())
    assert compose["services"]["kiosk"]["environment"].items() >= HEAP.items()


def test_a_slope_is_one_of_the_later_part() -> None:
    steps = [(float(t), 100.0 + (20 if t > 100 else t / 5), 0, 0) for t in range(0, 1000, 10)]
    assert abs(slope(steps)) < 1
    assert slope([(float(t), t / 3600, 0, 0) for t in range(0, 1000, 10)]) == pytest.approx(1)


def test_the_kiosk_survives(tmp_path: Path) -> None:
    wanted = ["engine killed", "camera unplugged, another number", "reload", "disk full", "reload of a bad file"]
    wanted += ["X server killed and restarted", "wall clock jumps"]
    soak = Soak(tmp_path, 11, wanted)  # all kinds take minutes
    try:
        soak.run(0.25)
    finally:
        status = soak.close()
        promises = judge(soak, status, 0.01)
        soak.unmount()
    text = report(soak, promises, 11, 0.25) + (tmp_path / "log").read_text()
    assert status == 0, text
    assert len(soak.faults) >= 3 and all(fault.recovered is not None for fault in soak.faults), text
    assert all(promise.kept for promise in promises if "segment" in promise.text), text
    assert soak.screen.seen.pictures > 50
