"""A recording says of each of its pictures whether a model made it: the engine's process is killed meanwhile."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import av
import numpy as np
import psutil
import pytest

from tests.support.clips import encode
from tests.support.program import LIMIT, start

pytestmark = pytest.mark.e2e

SIZE = (96, 64)


def marks(path: Path) -> list[bool]:
    """Whether each picture of a flat film has something in its lower right corner, and nothing anywhere else."""
    found = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            grey = frame.to_ndarray(format="gray").astype(int)
            height, width = grey.shape
            corner, elsewhere = grey[height * 3 // 4 :, width // 2 :], grey[: height * 2 // 3]
            assert np.ptp(elsewhere) < 8, "nothing else is drawn"
            found.append(bool(np.ptp(corner) > 40))
    return found


def test_a_killed_engine_marks_the_recording_and_counts_the_same(tmp_path: Path) -> None:
    film = encode(tmp_path / "flat.mkv", 50, size=SIZE)
    out, figures = tmp_path / "out.mkv", tmp_path / "stats.json"
    running = start(
        *("--source", film, "--loop", "--pace", "source", "--headless", "--no-overlay", "--log-format", "json"),
        *("--engine", "openvino", "--model", "fast-x2", "--isolate", "--record", out, "--record-overlay"),
        *("--stats", figures),
    )
    try:
        assert running.stderr is not None
        events: list[str] = []

        def wait_for(event: str) -> None:
            for line in running.stderr or ():
                events.append(json.loads(line)["event"])
                if events[-1] == event:
                    return
            raise AssertionError(f"no {event} after {events}")

        wait_for("engine_ready")
        (worker,) = [
            child for child in psutil.Process(running.pid).children() if "engines.worker" in " ".join(child.cmdline())
        ]
        worker.kill()
        wait_for("engine_back")
        wait_for("statistics")  # some pictures later
        running.terminate()
        running.communicate(timeout=LIMIT)
    finally:
        running.kill()
    assert running.returncode == 0
    seen = marks(out)
    told = json.loads(figures.read_text())
    assert (len(seen), seen.count(True)) == (told["frames_shown"], told["frames_fallback"])
    assert [marked for marked, _ in itertools.groupby(seen)][-2:] == [True, False], "and the last of them are a model's"
