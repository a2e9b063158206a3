"""What the program records, whatever happens to the file, the disk or the process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import av
import pytest

from tests.support.clips import encode
from tests.support.program import LIMIT, ROOT, run, start
from tests.support.recorded_files import decoded_frames, wait_for_size

pytestmark = pytest.mark.e2e


def truncate(path: Path) -> None:
    os.truncate(path, 12_000)


TAKEN: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "moved": lambda path: path.rename(path.parent.with_name("aside.mp4")),
    "truncated": truncate,
    "folder removed": lambda path: shutil.rmtree(path.parent),
}


@pytest.mark.parametrize("window", [False, True], ids=["headless", "window"])
@pytest.mark.parametrize("way", TAKEN)
def test_a_recording_that_somebody_takes_away_fails_the_run_and_the_figures_are_of_what_there_is(
    tmp_path: Path, display: str, way: str, window: bool
) -> None:
    out, stats = tmp_path / "folder" / "a.mp4", tmp_path / "a.json"
    second = out.with_stem("a-2") if way == "truncated" else out
    shown = [] if window else ["--headless"]
    asked = ["--source", "demo", "--size", "96x64", *shown, "--record", out, "--stats", stats]
    with start(*asked, **({"DISPLAY": display} if window else {})) as process:
        wait_for_size(out, 20_000)
        TAKEN[way](out)
        wait_for_size(second, 5_000)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    told = err.rpartition("Error: ")[2].splitlines()
    assert len(told) == 3 and err.count("Error: ") == 1, err
    assert told[0] == f"The recording {out} was deleted, moved or truncated"
    assert "while it was being written" in told[1] and f"were recorded to {second} after that" in told[1]
    first, last = json.loads(stats.read_text())["recordings"]
    assert last["path"] == str(second) and last["frames"] == len(decoded_frames(second)) > 0
    left = {"moved": tmp_path / "aside.mp4", "truncated": out}.get(way)
    assert (first["frames"] > 0) == (left is not None)
    if left is not None:
        assert first["path"] == str(left) and f"{first['frames']} " in told[1]
        with av.open(str(left)) as container, contextlib.suppress(av.FFmpegError):
            assert first["frames"] == sum(not frame.is_corrupt for frame in container.decode(video=0))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_after_a_kill_the_recording_plays(tmp_path: Path, suffix: str) -> None:
    out = tmp_path / f"a{suffix}"
    with start("--source", "demo", "--size", "96x64", "--headless", "--record", out) as process:
        wait_for_size(out, 20_000)
        end = time.monotonic() + LIMIT
        while len(decoded_frames(out)) <= 10:
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.1)
        process.kill()
    assert len(decoded_frames(out)) > 10


def test_what_is_recorded_as_shown_needs_no_window(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mkv", 5)
    done = run(
        *("--source", clip, "--headless", "--engine", "bicubic", "--view", "split", "--no-overlay"),
        *("--record-overlay", "--record", tmp_path / "a.mkv"),
    )
    assert done.returncode == 0 and "no effect" not in done.stderr, done.stderr
    # The clip is all of one grey; the wipe's divider and labels are not.
    assert decoded_frames(tmp_path / "a.mkv")[0].to_ndarray(format="gray").std() > 3


def test_a_disk_that_fills_ends_the_run_and_keeps_what_there_is(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000));"
        "from app.application import main; sys.exit(main(sys.argv[1:]))"
    )
    out = tmp_path / "a.mkv"
    arguments = ["--source", "demo", "--size", "320x180", "--engine", "bicubic", "--headless", "--record", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--stats", str(tmp_path / "s.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 1, done.stderr
    assert "The recording" in done.stderr
    assert "Traceback" not in done.stderr
    figures = json.loads((tmp_path / "s.json").read_text())
    assert figures["recording"]["frames"] > 0
    assert decoded_frames(out)


def test_what_cannot_be_written_at_the_end_hides_no_failure(tmp_path: Path) -> None:
    """Neither the figures nor the snapshot; alone, each is a failure of its own, and leaves nothing behind."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "from app.application import main; sys.exit(main(sys.argv[1:]))"
    )
    asked = ["--source", "demo", "--size", "320x180", "--engine", "bicubic", "--headless", "--frames", "60"]
    files = {"--record": tmp_path / "r.mp4", "--snapshot": tmp_path / "s.png", "--stats": tmp_path / "s.json"}
    for names, told in (
        (["--record", "--stats"], "The recording"),
        (["--snapshot"], "The snapshot"),
        (["--stats"], "The figures"),
    ):
        options = [part for name in names for part in (name, str(files[name]))]
        command = [sys.executable, "-c", code, *asked, *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
        assert done.returncode == 1 and f"Error: {told}" in done.stderr, done.stderr
        assert "File too large" in done.stderr and "should not have happened" not in done.stderr
        assert {path.name for path in tmp_path.iterdir()} <= {"r.mp4"}


def test_a_film_in_segments_comes_out_whole(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mkv", 50, size=(96, 64))
    asked = ["--source", clip, "--loop", "--frames", 130, "--headless", "--engine", "bicubic"]
    done = run(*asked, "--segment", 2, "--folder", tmp_path / "kept", "--stats", tmp_path / "s.json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "s.json").read_text())
    assert figures["recording"] == figures["segmented_recording"] and figures["recordings"] == []
    assert (figures["segmented_recording"]["frames"], figures["segmented_recording"]["segments"]) == (130, 3)
    assert sorted(len(decoded_frames(path)) for path in (tmp_path / "kept").iterdir()) == [30, 50, 50]


def test_figures_are_of_all_that_was_recorded(tmp_path: Path) -> None:
    asked = ["--source", encode(tmp_path / "clip.mkv", 20), "--headless", "--engine", "bicubic"]
    kept = ["--record", tmp_path / "a.mp4", "--segment", 9, "--folder", tmp_path / "kept"]
    done = run(*asked, *kept, "--stats", tmp_path / "s.json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "s.json").read_text())
    assert [one["path"] for one in figures["recordings"]] == [str(tmp_path / "a.mp4")]
    assert figures["recording"] == figures["recordings"][0]
    assert figures["recording"]["frames"] == figures["segmented_recording"]["frames"] == 20
    assert figures["since"] <= datetime.now().astimezone().isoformat(timespec="seconds")


def test_a_reload_takes_the_place_of_nothing_that_was_made_and_begins_the_figures_anew(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    made = {
        "input": {"source": "demo", "size": "96x64"},
        "engine": "bicubic",
        "output": {"headless": True, "snapshot": str(tmp_path / "a.png")},
        "recording": {"file": str(tmp_path / "a.mp4")},
        "run": {"stats": str(tmp_path / "s.json")},
    }
    config.write_text(json.dumps(made))  # YAML as well
    with start("--config", config) as process:
        for name in ("a.png", "a.mp4"):
            wait_for_size(tmp_path / name, 1000)
        first = (tmp_path / "a.png").stat().st_mtime_ns
        config.write_text(json.dumps(made | {"engine": {"name": "bicubic", "depth": 1}}))
        asked = datetime.now().astimezone()
        process.send_signal(signal.SIGHUP)
        for name in ("a-2.png", "a-2.mp4"):
            wait_for_size(tmp_path / name, 1000)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    assert first <= (tmp_path / "a.png").stat().st_mtime_ns < (tmp_path / "a-2.png").stat().st_mtime_ns
    figures = json.loads((tmp_path / "s.json").read_text())
    assert [one["path"] for one in figures["recordings"]] == [str(tmp_path / "a-2.mp4")]
    assert datetime.fromisoformat(figures["since"]) >= asked.replace(microsecond=0)
    assert decoded_frames(tmp_path / "a.mp4")
    assert len(decoded_frames(tmp_path / "a-2.mp4")) == figures["recording"]["frames"]


def test_a_run_without_a_window_that_kept_nothing_has_failed(tmp_path: Path) -> None:
    asked = ["--source", encode(tmp_path / "clip.mkv", 20), "--headless", "--engine", "bicubic"]
    kept = ["--segment", 9, "--folder", tmp_path / "kept", "--reserve-mb", 1e12]
    done = run(*asked, *kept, "--stats", tmp_path / "s.json")
    assert done.returncode == 1
    assert f"Error: Nothing was recorded in {tmp_path / 'kept'}\n  20 pictures came; " in done.stderr
    assert "MB are free" in done.stderr and "Make room" in done.stderr
    assert json.loads((tmp_path / "s.json").read_text())["segmented_recording"]["missed"] == 20


def test_a_film_is_said_to_be_written_anew_when_it_is(tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    out.write_bytes(b"an old film")
    asked = ["--headless", "--engine", "bicubic", "--record", out]
    done = run("--source", encode(tmp_path / "tiny.mkv", 2, size=(14, 14)), *asked)
    assert done.returncode == 1 and "overwriting" not in done.stderr, done.stderr
    assert out.read_bytes() == b"an old film"
    done = run("--source", encode(tmp_path / "clip.mkv", 2), *asked)
    assert done.returncode == 0 and f"overwriting existing file {out}" in done.stderr, done.stderr


def test_a_run_that_fails_at_once_costs_no_recording(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(b"an old film")
    (tmp_path / "text.onnx").write_bytes(b"no network")
    done = run("--source", "demo", "--headless", "--record", tmp_path / "a.mkv", "--model", tmp_path / "text.onnx")
    assert done.returncode == 1 and "not an ONNX model" in done.stderr
    assert (tmp_path / "a.mkv").read_bytes() == b"an old film"
