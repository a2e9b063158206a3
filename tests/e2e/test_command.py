"""The program as a user runs it: real files in, real files out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.catalog import shipped as catalog
from engines.catalog.shipped import ModelCard
from scripts.kiosk.x_server import screenshot
from tests.support.clips import encode, jpeg, multipart, number, serve
from tests.support.program import LIMIT, run, start
from tests.support.recorded_files import decoded_frames, wait_for_size

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_film_comes_out_whole(tmp_path: Path, suffix: str) -> None:
    clip = encode(tmp_path / "clip.mkv", 40, size=(96, 64), ticks=[i * 40 + (i % 3) * 9 for i in range(40)])
    out, stats = tmp_path / "out" / f"film{suffix}", tmp_path / "out" / "stats.json"
    done = run("--source", clip, "--headless", "--record", out, "--stats", stats)
    assert done.returncode == 0, done.stderr
    recorded, original = decoded_frames(out), decoded_frames(clip)
    assert [(f.width, f.height) for f in recorded] == [(192, 128)] * 40
    for made, given in zip(recorded, original, strict=True):
        assert float(made.pts * made.time_base) == pytest.approx(float(given.pts * given.time_base), abs=0.002)
    assert [number(f.to_ndarray(format="bgr24")) for f in recorded] == list(range(40))
    figures = json.loads(stats.read_text())
    assert (figures["frames_captured"], figures["frames_dropped"], figures["frames_shown"]) == (40, 0, 40)
    assert figures["engine"]["name"] == "openvino"
    assert figures["engine"]["model"].startswith("fast-x2")  # int8 where the processor is quick at it
    assert figures["input"] == {"width": 96, "height": 64, "fps": 25.0}
    assert figures["output"] == {"width": 192, "height": 128}
    assert figures["recording"] == {
        "path": str(out),
        "frames": 40,
        "seconds": pytest.approx(1.56, abs=0.02),
        "dropped": 0,
    }


def test_the_picture_is_sharper_than_bicubic(tmp_path: Path) -> None:
    """A scene that is known at twice the size, through the whole program."""
    from app.sources.demo.camera import DemoCamera

    truth = DemoCamera(size=(512, 288), fps=30).picture(0)
    small = cv2.resize(truth, (256, 144), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / "small.png"), small)
    done = run("--source", tmp_path / "small.png", "--headless", "--snapshot", tmp_path / "both.png")
    assert done.returncode == 0, done.stderr
    both = cv2.imread(str(tmp_path / "both.png"))
    assert both is not None
    clear = slice(0, 250)  # above the labels

    def error(image: Any) -> float:
        return float(np.mean((image[clear].astype(float) - truth[clear]) ** 2))

    # The scene has noise and JPEG blocks in it, which no network can foresee.
    assert error(both[:, 512:]) < 0.93 * error(both[:, :512])


def test_the_demo_runs_live(tmp_path: Path) -> None:
    stats = tmp_path / "stats.json"
    arguments = ["--source", "demo", "--size", "96x64", "--fps", "20", "--headless", "--duration", "2"]
    done = run(*arguments, "--stats", stats, "--engine", "bicubic")
    assert done.returncode == 0, done.stderr
    figures = json.loads(stats.read_text())
    assert 5 < figures["frames_shown"] <= 20 * figures["seconds"] + 2
    assert 1.5 < figures["seconds"] < 10
    assert figures["input"] == {"width": 96, "height": 64, "fps": 20.0}
    assert figures["recording"] is None
    assert figures["latency_ms"]["p50"] < 1000


def test_a_camera_that_tells_no_rate_is_governed_by_the_one_at_which_its_pictures_arrive(tmp_path: Path) -> None:
    sent: list[float] = []

    def pictures() -> Iterator[bytes]:
        begun = time.monotonic()
        for index in range(1000):
            time.sleep(max(0.0, begun + index / 20 - time.monotonic()))
            sent.append(time.monotonic())
            yield jpeg(index % 50)

    stats = tmp_path / "stats.json"
    with serve(lambda handler: multipart(handler, pictures())) as address:
        done = run("--source", address, "--headless", "--governor", "--duration", "4", "--stats", stats)
    assert done.returncode == 0, done.stderr
    rate = (len(sent) - 1) / (sent[-1] - sent[0])  # 20, if this machine is not busy
    assert json.loads(stats.read_text())["governor"]["fps"] == pytest.approx(rate, rel=0.2)


def test_limits(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mkv", 10)
    stats = tmp_path / "stats.json"
    done = run("--source", clip, "--loop", "--headless", "--frames", 35, "--stats", stats, "--engine", "bicubic")
    assert done.returncode == 0, done.stderr
    assert json.loads(stats.read_text())["frames_shown"] == 35


def test_the_configuration_that_is_printed_runs(tmp_path: Path) -> None:
    clip = encode(tmp_path / "clip.mkv", 5)
    printed = run("--source", clip, "--headless", "--engine", "bicubic", "--quiet", "--print-config")
    (tmp_path / "c.yaml").write_text(printed.stdout)
    done = run("--config", tmp_path / "c.yaml", "--record", tmp_path / "a.mkv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(decoded_frames(tmp_path / "a.mkv")) == 5


def test_the_list_tells_what_there_is() -> None:
    done = run("--list")
    assert done.returncode == 0, done.stderr
    card = ModelCard.of(catalog.MODELS_FOLDER / "fast-x2.md")
    figures = f"{card.psnr['fp32']['Set5']:.2f}", card.use, f"{card.parameters:,}"
    told = ("Cameras", "fast", "x2", "fp16 fp32 int8", *figures, "openvino", "chosen by auto")
    for part in (*told, "tensorrt", "not available"):
        assert part in done.stdout


def test_a_size_that_changes_midway(tmp_path: Path) -> None:
    for index, size in enumerate([(64, 48), (64, 48), (80, 64), (80, 64), (33, 17)]):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((size[1], size[0], 3), 100 + index, np.uint8))
    out, stats = tmp_path / "out.mp4", tmp_path / "stats.json"
    done = run("--source", tmp_path, "--headless", "--record", out, "--stats", stats, "--fps", 10)
    assert done.returncode == 0, done.stderr
    assert [(f.width, f.height) for f in decoded_frames(out)] == [(128, 96)] * 5
    assert json.loads(stats.read_text())["output"] == {"width": 66, "height": 34}


def test_a_window_shows_it_and_q_ends_it(tmp_path: Path, display: str) -> None:
    clip = encode(tmp_path / "clip.mkv", 25)
    stats = tmp_path / "stats.json"
    arguments = ["--source", clip, "--loop", "--view", "split", "--stats", stats, "--record", tmp_path / "a.mkv"]
    with start(*arguments, DISPLAY=display) as process:
        wait_for_size(tmp_path / "a.mkv", 3_000)
        environment = os.environ | {"DISPLAY": display}
        assert shutil.which("xdotool")
        search = ["xdotool", "search", "--sync", "--onlyvisible", "--name", "Live super-resolution"]
        found = subprocess.run(search, env=environment, capture_output=True, text=True, timeout=LIMIT)
        window = found.stdout.split()[-1]
        subprocess.run(["xdotool", "windowfocus", "--sync", window], env=environment, timeout=LIMIT)
        subprocess.run(["xdotool", "key", "q"], env=environment, capture_output=True, timeout=LIMIT)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    figures = json.loads(stats.read_text())
    assert figures["recording"]["frames"] == figures["frames_shown"] == len(decoded_frames(tmp_path / "a.mkv"))
    # The wipe is for the screen: what is recorded is the upscaled picture, all of one grey in this clip.
    assert decoded_frames(tmp_path / "a.mkv")[0].to_ndarray(format="gray").std() < 3


@pytest.mark.parametrize("overlay", [(), ("--record-overlay",)])
def test_a_recording_is_marked_in_the_window_and_not_in_the_file(
    tmp_path: Path, display: str, overlay: tuple[str, ...]
) -> None:
    clip = encode(tmp_path / "clip.mkv", 25)
    arguments = ["--source", clip, "--loop", "--engine", "bicubic", "--folder", tmp_path, *overlay]
    environment = os.environ | {"DISPLAY": display}

    def key(name: str) -> None:
        subprocess.run(["xdotool", "key", name], env=environment, capture_output=True, timeout=LIMIT)

    def reds(image: NDArray[np.uint8]) -> int:
        return int(((image[..., 2] > 180) & (image[..., :2].max(2) < 90)).sum())

    def until_red(wanted: bool) -> None:
        end = time.monotonic() + LIMIT
        while (reds(screenshot(display)) > 10) != wanted:
            assert time.monotonic() < end, f"red: {not wanted}"
            time.sleep(0.1)

    with start(*arguments, DISPLAY=display) as process:
        search = ["xdotool", "search", "--sync", "--onlyvisible", "--name", "Live super-resolution"]
        found = subprocess.run(search, env=environment, capture_output=True, text=True, timeout=LIMIT)
        subprocess.run(["xdotool", "windowfocus", "--sync", found.stdout.split()[-1]], env=environment, timeout=LIMIT)
        time.sleep(1)
        until_red(False)
        key("r")
        until_red(True)
        time.sleep(0.5)
        key("r")
        until_red(False)
        key("q")
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    (recorded,) = tmp_path.glob("recording-*.mp4")
    pictures = decoded_frames(recorded)
    assert pictures and not any(reds(picture.to_ndarray(format="bgr24")) for picture in pictures)


NVTX = """
import threading
class annotate:
    def __init__(self, name, domain):
        self.name = name
    def __enter__(self):
        self.tell("enters")
    def __exit__(self, *_):
        self.tell("leaves")
    def tell(self, what):
        with open({told!r}, "a") as file:
            print(threading.current_thread().name, what, self.name, file=file)
"""


@pytest.mark.parametrize(
    ("source", "count", "read"),
    [
        (["--source", "demo"], 5, []),
        # Until the attract loop is open, ten black pictures come a second.
        (["--camera", "63", "--reconnect", "--attract-after", "0"], 60, ["reader: read"]),
    ],
)
def test_stages_have_ranges_where_nvtx_is_there(tmp_path: Path, source: list[str], count: int, read: list[str]) -> None:
    (tmp_path / "nvtx.py").write_text(NVTX.format(told=str(tmp_path / "told")))
    done = run(
        *(*source, "--size", "96x64", "--headless", "--frames", count, "--engine", "bicubic"),
        *("--pace", "source", "--record", tmp_path / "a.mkv", "--record-overlay"),
        PYTHONPATH=str(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    entered: Counter[str] = Counter()
    inside: dict[str, list[str]] = {}
    for line in (tmp_path / "told").read_text().splitlines():
        thread, what, name = line.split()
        if what == "enters":
            entered[f"{thread}: {name}"] += 1
            inside.setdefault(thread, []).append(name)
        else:
            assert inside[thread].pop() == name
    overlays = ("StrengthKnob", "DetailTracker", "SplitView", "SplitMarks", "Magnifier", "BicubicMark", "StatsPanel")
    sinks = ("Snapshot", *overlays, "OnDemandRecorder", "Report", "Watchdog")
    once = {"recorder: encode", *(f"MainThread: {name}" for name in sinks)}
    often = {"capture: capture", "MainThread: collect"}
    assert set(entered) == {*once, *often, *read}
    assert {entered[name] for name in once} == {count}
    assert all(entered[name] >= count for name in often)


def test_a_run_imports_only_what_it_uses(tmp_path: Path) -> None:
    for package in ("av", "linuxpy", "yaml"):
        text = f'raise ModuleNotFoundError("No module named {package}", name="{package}")'
        (tmp_path / f"{package}.py").write_text(text)
    demo = ("--source", "demo", "--size", "96x64", "--headless", "--engine", "bicubic", "--frames", 1)
    environment = {"PYTHONPATH": str(tmp_path)}
    done = run(*demo, **environment)
    assert done.returncode == 0, done.stderr
    recorded = (*demo, "--record", tmp_path / "a.mkv")
    for package, options in (("av", recorded), ("linuxpy", ["--list"]), ("yaml", ["--print-config"])):
        done = run(*options, **environment)
        first, facts, fix = done.stderr.splitlines()
        assert done.returncode == 2 and first == "Error: The environment of this program is not set up"
        assert facts.endswith(f"has no package {package}") and fix == "  ./scripts/run sets it up"
