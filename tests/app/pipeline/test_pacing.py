"""What is asked for, what a source says of itself, and which rate is to be kept."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import cv2
import pytest

from app.config.command_line import parse
from app.pipeline.pacing import PacingPolicy
from app.pipeline.stats import Stats
from app.sources.demo.camera import DemoCamera
from app.sources.images import ImageSequence
from tests.support.clips import picture

STILLS, LIVE = "pictures", "demo"


@pytest.mark.parametrize(
    ("kind", "asked", "lossless", "paced", "rate"),
    [
        (LIVE, "", False, False, 25),  # it paces itself
        (LIVE, "--headless", False, False, 25),
        (STILLS, "", True, True, 4),  # there to be looked at
        (STILLS, "--headless", True, False, 0),  # as fast as it can be done
        (STILLS, "--pace source --headless", True, True, 4),
        (STILLS, "--pace live", False, True, 4),
        (STILLS, "--pace fast", True, False, 0),
        (LIVE, "--pace fast", True, False, 0),
        (LIVE, "--governor-fps 12", False, False, 12),
        (STILLS, "--pace fast --governor-fps 12", True, False, 12),
    ],
)
def test_pace(kind: str, asked: str, lossless: bool, paced: bool, rate: float, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), picture(0))
    source = DemoCamera(size=(64, 48), fps=25) if kind == LIVE else ImageSequence.of(tmp_path, fps=4)
    with closing(source):
        pacing = PacingPolicy(parse(asked.split())[0], source, Stats())
        assert (pacing.lossless, pacing.paced, pacing.rate()) == (lossless, paced, rate)


@pytest.mark.parametrize(("pace", "rate"), [("live", 50), ("source", 0)])
def test_a_source_that_tells_no_rate_is_measured_only_while_it_is_live(pace: str, rate: float) -> None:
    stats = Stats()
    with closing(DemoCamera(size=(64, 48))) as source:
        source.fps = 0.0  # as of a stream that does not tell
        pacing = PacingPolicy(parse(["--pace", pace])[0], source, stats)
        assert pacing.rate() == 0
        for n in range(101):
            stats.arrivals.add(n / 50)
        assert pacing.rate() == pytest.approx(rate)
