"""A short soak: the real kiosk, broken in a few ways; the long one is run by hand (docs/reliability.md)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from scripts import states
from scripts.common.checkout import ROOT
from scripts.kiosk.fake_camera import draw_code, read_code, scene
from scripts.kiosk.rig import HEAP_ENVIRONMENT
from scripts.kiosk.verdict import RecordingTotals, judge, recorded, report, slope
from scripts.soak import Soak, SoakError, main


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
    assert "Environment=" + " ".join(f"{name}={value}" for name, value in HEAP_ENVIRONMENT.items()) + "\n" in service
    compose = yaml.safe_load((ROOT / "configs/kiosk.compose.yaml").read_text())
    assert compose["services"]["kiosk"]["environment"].items() >= HEAP_ENVIRONMENT.items()


def test_a_slope_is_one_of_the_later_part() -> None:
    steps = [(float(t), 100.0 + (20 if t > 100 else t / 5), 0, 0) for t in range(0, 1000, 10)]
    assert abs(slope(steps)) < 1
    assert slope([(float(t), t / 3600, 0, 0) for t in range(0, 1000, 10)]) == pytest.approx(1)
    assert slope(steps[:2]) == 0


def test_a_slope_is_not_bent_by_what_is_in_use_for_a_moment() -> None:
    spikes = [(float(t), 90.0 + 3 * t / 3600 + 40 * (t % 170 == 0 and t > 600), 0, 0) for t in range(0, 1000, 10)]
    assert slope(spikes) == pytest.approx(3, abs=0.1)


def test_what_was_recorded_is_read_off_the_log() -> None:
    lines: list[tuple[str, str | None, dict[str, object]]] = [
        ("12:00:05", "recording_finished", {"frames": 86, "seconds": 2.8, "path": "/disk/20261124-120002.mp4"}),
        ("12:00:06", "recording_failed", {"frames": 15, "seconds": 0.5, "reason": "No space left on device"}),
        ("12:00:11", "recording_resumed", {"path": "/disk/20261124-120011.mp4"}),
        ("12:00:12", "recording_finished", {"frames": 16, "seconds": 0.5, "path": "/disk/.livesr-2.part.mp4"}),
        ("12:00:12", "segments_finished", {"frames": 117, "seconds": 3.8, "files": "3 files", "path": "/disk"}),
        ("12:00:12", "session_ended", {"pictures": 120, "seconds": 10.0, "fps": 28.7}),
        ("12:00:12", None, {"frames": 1000, "seconds": 30.0}),
        ("12:00:13", "recording_failed", {"reason": "The disk is full"}),
        ("11:00:14", "recording_resumed", {"path": "/disk/20261124-120014.mp4"}),
    ]
    log = "[ WARN] a library says what it likes\n{\n" + "\n".join(
        json.dumps({"time": f"2026-11-24T{time}.000+00:00", "event": event, "message": "in any words"} | fields)
        for time, event, fields in lines
    )
    total = recorded(log)
    assert total == RecordingTotals(86 + 15 + 16, total.seconds, 2, 5)
    assert total.seconds == pytest.approx(2.8 + 0.5 + 0.5)


def test_a_fault_that_there_is_not_is_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--only", "engine killed", "reloads"]) == 2
    told = capsys.readouterr().err
    assert "There is no fault 'reloads'" in told and "'reload of a bad file'" in told
    with pytest.raises(SoakError):
        Soak(tmp_path, 1, ["reloads"])
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    for option in ("--report", "--json", "--log"):
        assert main([option, str(tmp_path / "file/new")]) == 2
        assert "file/new cannot be written" in capsys.readouterr().err


def test_a_picture_of_a_state_that_cannot_be_written_is_told_before_anything_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert states.main([str(tmp_path / "file")]) == 2
    assert "kiosk-building.jpg cannot be written" in capsys.readouterr().err


@pytest.mark.display
@pytest.mark.timeout(400)
def test_the_kiosk_survives(tmp_path: Path) -> None:
    """Two minutes of everything, while other tests compute on the same cores: only what no load excuses is judged."""
    soak = Soak(tmp_path, 11)
    try:
        soak.run(2)
    finally:
        outcome = soak.close(2)
    promises = judge(outcome)
    text = report(outcome, promises) + (tmp_path / "log").read_text()
    assert outcome.status == 0, text
    # How many faults, pictures and frames two minutes hold depends on who else computes: some of each.
    assert len(outcome.faults) >= 5 and all(fault.recovered is not None for fault in outcome.faults), text
    assert not outcome.broken and outcome.segments, text
    assert outcome.seen.pictures > 50 and outcome.recorded.frames > 50, text
