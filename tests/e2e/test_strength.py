"""The strength from the command line and by reload, seen in what is recorded."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from app.sources.demo.camera import DemoCamera
from engines.catalog import shipped as catalog
from tests.support.networks import base_file, old_file
from tests.support.program import LIMIT, run, start

pytestmark = pytest.mark.e2e

Pictures = list[NDArray[np.uint8]]
LOSSLESS = ("--headless", "--quality", 0)


def recorded(path: Path) -> Pictures:
    with av.open(str(path)) as container:
        return [frame.to_ndarray() for frame in container.decode(video=0)]  # as it was encoded


def detailed(folder: Path, count: int) -> Path:
    """A folder with so many pictures that have detail."""
    folder.mkdir()
    camera = DemoCamera(size=(64, 48))
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:03}.png"), camera.picture(number))
    return folder


def equal(some: Pictures, others: Pictures) -> bool:
    return len(some) == len(others) and all((a == b).all() for a, b in zip(some, others, strict=True))


def test_what_is_recorded_is_the_base_at_0_and_the_picture_of_before_at_1(tmp_path: Path) -> None:
    model, clip = catalog.find("fast-x2-fp32"), detailed(tmp_path / "pictures", 6)

    def made(path: Path, *options: object) -> tuple[Pictures, Any]:
        out, stats = tmp_path / "out.mkv", tmp_path / "stats.json"
        out.unlink(missing_ok=True)
        done = run("--source", clip, "--model", path, "--record", out, "--stats", stats, *LOSSLESS, *options)
        assert done.returncode == 0, done.stderr
        assert ("the strength has no effect: base-x2 has no input for it" in done.stderr) is (
            path.stem == "base-x2" and "--strength" in options
        )
        return recorded(out), json.loads(stats.read_text())["strength"]

    (none, told), (base, _) = made(model, "--strength", 0), made(base_file(model, tmp_path), "--strength", 0.5)
    assert equal(none, base) and told == {"value": 0.0, "changes": 0, "effective": True}
    (trained, told), (before, untold) = made(model), made(old_file(model, tmp_path))
    assert equal(trained, before) and not equal(trained, none)
    assert told["effective"] and untold == {"value": 1.0, "changes": 0, "effective": False}


def test_a_reload_changes_it_between_two_frames_of_one_session(tmp_path: Path) -> None:
    count, config = 200, tmp_path / "run.yaml"
    clip = detailed(tmp_path / "pictures", count)

    def write(strength: float) -> None:
        config.write_text(yaml.safe_dump({"engine": {"name": "openvino", "strength": strength}}))

    def options(name: str) -> list[object]:
        files = ["--record", tmp_path / f"{name}.mkv", "--stats", tmp_path / f"{name}.json"]
        return ["--config", config, "--source", clip, "--fps", 25, "--log-format", "json", *files, *LOSSLESS]

    for strength in (0.0, 1.0):
        write(strength)
        assert run(*options(f"at {strength:g}")).returncode == 0
    with start(*options("reloaded"), "--pace", "source") as program:
        assert program.stderr is not None
        events = []
        for line in program.stderr:
            events.append(json.loads(line)["event"])
            if events[-1] == "engine_in_use":
                write(0.0)
                program.send_signal(signal.SIGHUP)
        assert program.wait(LIMIT) == 0, events
    assert events.count("session_started") == events.count("engine_in_use") == events.count("strength_changed") == 1
    figures = json.loads((tmp_path / "reloaded.json").read_text())
    assert figures["strength"] == {"value": 0.0, "changes": 1, "effective": True}
    assert (figures["frames_shown"], figures["frames_dropped"]) == (count, 0)
    before, after, made = (recorded(tmp_path / f"{name}.mkv") for name in ("at 1", "at 0", "reloaded"))
    of_after = [(picture == later).all() for picture, later in zip(made, after, strict=True)]
    turn = of_after.index(True)
    assert all(of_after[turn:]) and equal(made[:turn], before[:turn])
