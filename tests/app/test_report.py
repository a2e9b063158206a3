"""The three readers of the figures: overlay, log, file."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pytest

from app import report
from app.errors import ConfigError
from app.pipeline.frame import Frame, OutputFrame
from app.pipeline.stats import Stats
from app.report import Report
from app.system.sensors import Reading
from app.system.telemetry import Telemetry
from engines import bicubic
from engines.base import Condition, EngineState


class Camera:
    name, live, paced, camera, fps = "camera /dev/video0", True, True, True, 30.0


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Report:
    stats, telemetry = Stats(), Telemetry()
    telemetry.close()
    telemetry._latest = Reading(temperature=51.2, power=7.25, cpu=40), time.monotonic()
    stats.spec = bicubic.load((640, 360), scale=2, depth=2).spec
    stats.captured, stats.dropped = 12, 2
    for index in range(10):
        now = time.monotonic()
        frame = Frame(np.zeros((360, 640, 3), np.uint8), index, now - 0.04, index / 30, decode=0.002, ready=now - 0.03)
        stats.add(frame, submitted=now - 0.02, busy=0.015, spent={"overlay": 0.001, "sink": 0.003})
    return Report(stats, Camera(), telemetry)  # type: ignore[arg-type]


def test_the_overlay_tells_what_was_promised(made: Report) -> None:
    text = "\n".join(made.lines())
    for part in (
        "fps",
        "engine 15.0 ms",
        "age 40 ms",
        "640x360 -> 1280x720",
        "dropped 2",
        "bicubic u8",
        "51 C",
        "7.2 W",
    ):
        assert part in text
    assert text.isascii()


def test_the_overlay_tells_what_stands_in(made: Report) -> None:
    spec = made._stats.spec
    assert spec is not None
    away = EngineState(Condition.FALLBACK, "triton://host:8001/fast-x2 is away: connection refused")
    made._stats.spec = dataclasses.replace(spec, state=away)
    told = made.lines()
    assert "bicubic (triton://host:8001/fast-x2 is away: connection refused)" in " ".join(told)
    assert max(map(len, told)) <= 60
    assert "host:8001/fast-x2 is away" in made.status(), "the service manager is told, too"


def test_the_file_has_the_keys_that_others_read(made: Report, tmp_path: Path) -> None:
    path = tmp_path / "stats.json"
    report.save_figures(path, made.as_dict([{"path": "a.mp4", "frames": 10, "seconds": 0.3, "dropped": 0}]))
    figures = json.loads(path.read_text())
    assert figures["frames_captured"] == 12
    assert figures["frames_dropped"] == 2
    assert figures["frames_shown"] == 10
    assert {"fps_out", "seconds"} < set(figures)
    assert {"name", "device", "model", "precision", "scale", "state", "takes_strength", "ms_p50", "ms_p99"} == set(
        figures["engine"]
    )
    assert {"p50", "p95", "p99"} == set(figures["latency_ms"])
    assert figures["input"] == {"width": 640, "height": 360, "fps": 30.0}
    assert figures["output"] == {"width": 1280, "height": 720}
    assert {"decode", "queue", "engine", "overlay", "sink"} == set(figures["stages_ms"])
    assert figures["stages_ms"]["queue"]["p50"] == pytest.approx(10, abs=0.5)
    assert figures["recording"]["frames"] == 10
    assert figures["peak_memory_mb"] > 10


def test_the_log_gets_a_line_now_and_then(made: Report, caplog: pytest.LogCaptureFixture) -> None:
    picture = OutputFrame(np.zeros((2, 2, 3), np.uint8), Frame(np.zeros((1, 1, 3), np.uint8), 0, 0, 0))
    with caplog.at_level("INFO"):
        made.write(picture)
        assert not caplog.records
        often = Report(made._stats, Camera(), made._telemetry, log_period_s=0.0)  # type: ignore[arg-type]
        often.write(picture)
    assert "dropped 2" in caplog.text


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    report.check_writable(tmp_path / "new" / "stats.json")
    (tmp_path / "file").write_text("")
    for bad in (tmp_path / "file" / "stats.json", tmp_path):
        with pytest.raises(ConfigError, match="cannot be written"):
            report.check_writable(bad)
