"""A short soak: the real kiosk, broken in a few ways; the long one is run by hand (docs/reliability.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scripts import states
from scripts.kiosk.fake_camera import draw_code, read_code, scene
from scripts.kiosk.rig import HEAP, ROOT
from scripts.kiosk.verdict import Recorded, judge, recorded, report, slope
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
    assert "Environment=" + " ".join(f"{name}={value}" for name, value in HEAP.items()) + "\n" in service
    compose = yaml.safe_load((ROOT / "configs/kiosk.compose.yaml").read_text())
    assert compose["services"]["kiosk"]["environment"].items() >= HEAP.items()


def test_a_slope_is_one_of_the_later_part() -> None:
    steps = [(float(t), 100.0 + (20 if t > 100 else t / 5), 0, 0) for t in range(0, 1000, 10)]
    assert abs(slope(steps)) < 1
    assert slope([(float(t), t / 3600, 0, 0) for t in range(0, 1000, 10)]) == pytest.approx(1)
    assert slope(steps[:2]) == 0


def test_a_slope_is_not_bent_by_what_is_in_use_for_a_moment() -> None:
    spikes = [(float(t), 90.0 + 3 * t / 3600 + 40 * (t % 170 == 0 and t > 600), 0, 0) for t in range(0, 1000, 10)]
    assert slope(spikes) == pytest.approx(3, abs=0.1)


def test_what_was_recorded_is_read_off_the_log() -> None:
    log = """12:00:05 recorded 86 frames, 2.8 s, to /disk/20261124-120002.mp4
12:00:06 recording has stopped; the picture goes on
  The recording /disk/.livesr-1.part.mp4 has failed
  No space left on device; 15 frames, 0.5 s, were recorded and play
12:00:11 recording again, to /disk/20261124-120011.mp4
12:00:12 recorded 16 frames, 0.5 s, to /disk/.livesr-2.part.mp4
12:00:12 recorded 117 frames, 3.8 s, in 3 files in /disk
12:00:12 120 pictures shown in 10.0 s, 28.7 fps
12:00:13 recording has stopped; the picture goes on
11:00:14 recording again, to /disk/20261124-120014.mp4
"""
    told = recorded(log)
    assert told == Recorded(86 + 15 + 16, told.seconds, 2, 5)
    assert told.seconds == pytest.approx(2.8 + 0.5 + 0.5)


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
    assert len(outcome.faults) >= 15 and all(fault.recovered is not None for fault in outcome.faults), text
    assert not outcome.broken and outcome.segments, text
    assert outcome.seen.pictures > 500 and outcome.recorded.frames > 500, text
