"""The program as a user runs it: real files in, real files out, and every mistake answered in words."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import app.application
import app.session
from app.config.schema import Config
from app.errors import SinkError
from app.lifecycle import Lifecycle
from app.session import SessionContext
from app.sinks.window import PersistentWindow
from engines.catalog import shipped as catalog
from engines.catalog.shipped import ModelCard
from scripts.kiosk.x_server import screenshot
from tests.support.clips import encode, jpeg, multipart, number, serve
from tests.support.program import LIMIT, ROOT, run, start, without_display

pytestmark = pytest.mark.e2e


def frames(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def wait_for(path: Path, size: int) -> None:
    end = time.monotonic() + LIMIT
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < end, f"{path} has not come"
        time.sleep(0.05)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_film_comes_out_whole(tmp_path: Path, suffix: str) -> None:
    clip = encode(tmp_path / "clip.mkv", 40, size=(96, 64), ticks=[i * 40 + (i % 3) * 9 for i in range(40)])
    out, stats = tmp_path / "out" / f"film{suffix}", tmp_path / "out" / "stats.json"
    done = run("--source", clip, "--headless", "--record", out, "--stats", stats)
    assert done.returncode == 0, done.stderr
    recorded, original = frames(out), frames(clip)
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_properly(tmp_path: Path, number: signal.Signals) -> None:
    out, stats = tmp_path / "a.mp4", tmp_path / "a.json"
    with start("--source", "demo", "--size", "96x64", "--headless", "--record", out, "--stats", stats) as process:
        wait_for(out, 20_000)
        process.send_signal(number)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    assert len(frames(out)) == json.loads(stats.read_text())["recording"]["frames"] > 5


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
        wait_for(out, 20_000)
        TAKEN[way](out)
        wait_for(second, 5_000)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 1
    told = err.rpartition("Error: ")[2].splitlines()
    assert len(told) == 3 and err.count("Error: ") == 1, err
    assert told[0] == f"The recording {out} was deleted, moved or truncated"
    assert "while it was being written" in told[1] and f"were recorded to {second} after that" in told[1]
    first, last = json.loads(stats.read_text())["recordings"]
    assert last["path"] == str(second) and last["frames"] == len(frames(second)) > 0
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
        wait_for(out, 20_000)
        end = time.monotonic() + LIMIT
        while len(frames(out)) <= 10:
            assert time.monotonic() < end and process.poll() is None
            time.sleep(0.1)
        process.kill()
    assert len(frames(out)) > 10


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
    assert len(frames(tmp_path / "a.mkv")) == 5


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
    assert [(f.width, f.height) for f in frames(out)] == [(128, 96)] * 5
    assert json.loads(stats.read_text())["output"] == {"width": 66, "height": 34}


def test_a_window_shows_it_and_q_ends_it(tmp_path: Path, display: str) -> None:
    clip = encode(tmp_path / "clip.mkv", 25)
    stats = tmp_path / "stats.json"
    arguments = ["--source", clip, "--loop", "--view", "split", "--stats", stats, "--record", tmp_path / "a.mkv"]
    with start(*arguments, DISPLAY=display) as process:
        wait_for(tmp_path / "a.mkv", 3_000)
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
    assert figures["recording"]["frames"] == figures["frames_shown"] == len(frames(tmp_path / "a.mkv"))
    # The wipe is for the screen: what is recorded is the upscaled picture, all of one grey in this clip.
    assert frames(tmp_path / "a.mkv")[0].to_ndarray(format="gray").std() < 3


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
    pictures = frames(recorded)
    assert pictures and not any(reds(picture.to_ndarray(format="bgr24")) for picture in pictures)


def make(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


MISTAKES: dict[str, tuple[list[str], int, list[str]]] = {
    "no camera": (["--camera", "63"], 1, ["/dev/video63", "--source demo"]),
    "missing file": (["--source", "{tmp}/clop.mkv"], 1, ["clop.mkv", "Did you mean clip.mkv"]),
    "empty file": (["--source", "{tmp}/empty.mp4"], 1, ["empty"]),
    "text file": (["--source", "{tmp}/text.mp4"], 1, ["not a video"]),
    "cut file": (["--source", "{tmp}/cut.mp4"], 1, ["truncated"]),
    "refused stream": (["--source", "http://127.0.0.1:9/"], 1, ["refuses the connection"]),
    "unknown scheme": (["--source", "htp://host/"], 1, ["Did you mean http://?"]),
    "gstreamer": (["--source", "gst:videotestsrc"], 1, ["GStreamer"]),
    "yaml typo": (["--config", "{tmp}/typo.yaml"], 2, ["input.sorce", "Did you mean input.source?"]),
    "yaml type": (["--config", "{tmp}/type.yaml"], 2, ["input.fps", "'fast'"]),
    "option typo": (["--sorce", "demo"], 2, ["Did you mean --source?"]),
    "no such engine": (["--engine", "tensort"], 2, ["did you mean tensorrt?"]),
    "tensorrt": (["--engine", "tensorrt"], 1, ["tensorrt cannot be used", "Engines that work here"]),
    "triton": (
        ["--engine", "triton"],
        2,
        ["triton is not the address of a Triton server", "triton://127.0.0.1:8001/fast-x2"],
    ),
    "no such model": (["--model", "fats"], 2, ["Did you mean fast?"]),
    "no such scale": (["--model", "fast", "--scale", "7"], 2, ["fast does not enlarge 7 times", "x2"]),
    "no scale at all": (["--scale", "7"], 2, ["does not enlarge 7 times"]),
    "engine with an address": (["--engine", "openvino://x"], 2, ["the engines are"]),
    "recording over its source": (
        ["--source", "{tmp}/clip.mkv", "--record", "{tmp}/new/../clip.mkv"],
        2,
        ["source and record are the same file", "another name"],
    ),
    "a pipe": (["--source", "{tmp}/pipe.mkv"], 1, ["is not a file", "pipe"]),
    "two scales": (["--model", "fast-x4", "--scale", "2"], 2, ["enlarges 4 times and scale is 2"]),
    "no model file": (["--model", "{tmp}/none.onnx"], 2, ["no model file"]),
    "not onnx": (["--model", "{tmp}/text.onnx"], 1, ["not an ONNX model"]),
    "recording to avi": (["--record", "{tmp}/a.avi"], 2, [".mp4 or .mkv"]),
    "unwritable": (["--record", "{tmp}/text.mp4/a.mp4"], 2, ["Cannot record"]),
    "a folder": (["--record", "{tmp}/folder.mp4"], 2, ["Cannot record", "folder.mp4"]),
    "unknown encoder": (["--record", "{tmp}/a.mp4", "--encoder", "h265x"], 2, ["h265x", "libx264"]),
    "no encoder of segments": (["--segment", "9", "--encoder", "ffv1"], 2, ["ffv1 is not an H.264 encoder"]),
    "an encoder that does not start": (["--segment", "9", "--encoder", "libx264rgb"], 2, ["cannot be used on this"]),
    "segments into a file": (["--segment", "9", "--folder", "{tmp}/text.mp4/new"], 2, ["text.mp4 is a file"]),
    "stats": (["--stats", "{tmp}/text.mp4/a.json"], 2, ["figures cannot be written"]),
    "snapshot": (["--snapshot", "{tmp}/a.bmp"], 2, [".png"]),
    "tiny": (["--source", "{tmp}/1x1.png"], 1, ["1x1", "16x16 to 4096x2160"]),
    "huge": (["--source", "{tmp}/huge.png"], 1, ["6000x6000", "16x16 to 4096x2160"]),
    "closed folder": (["--source", "{tmp}/closed/film.mp4"], 1, ["film.mp4 cannot be opened", "Permission denied"]),
    "closed stream": (["--reconnect", "--source", "{tmp}/closed/x"], 1, ["Permission denied"]),
    "closed pattern": (["--source", "{tmp}/closed/*.png"], 1, ["cannot be opened", "Permission denied"]),
    "closed camera": (["--camera", "{tmp}/closed/video0"], 1, ["video0 cannot be opened", "Permission denied"]),
    "closed model": (["--model", "{tmp}/closed/x.onnx"], 2, ["model file", "Permission denied"]),
    "unreadable model": (["--model", "{tmp}/unreadable.onnx"], 2, ["model file", "Permission denied"]),
    "closed attract loop": (
        ["--reconnect", "--camera", "63", "--attract", "{tmp}/closed/film.mp4"],
        2,
        ["film.mp4 cannot be opened", "Permission denied"],
    ),
    "unlisted folder": (["--source", "{tmp}/unlisted"], 1, ["Permission denied", "{tmp}/unlisted"]),
    "unlisted file": (["--source", "{tmp}/unlisted/none.mp4"], 1, ["There is no file", "Check the name"]),
    "unreadable file": (["--source", "{tmp}/unreadable.mp4"], 1, ["cannot be read", "Permission denied"]),
    "unreadable picture": (["--source", "{tmp}/unreadable.png"], 1, ["unreadable.png cannot be read", "denied"]),
    "no attract film": (["--attract", "{tmp}/none.mp4"], 2, ["There is no file {tmp}/none.mp4"]),
    "no such language": (["--languages", "xx"], 2, ["no texts in the language 'xx'"]),
    "no folder of texts": (["--texts", "{tmp}/none"], 2, ["none is not a folder of texts"]),
    "no font": (["--font", "{tmp}/none.otf"], 2, ["none.otf cannot be used"]),
    "no such model to govern": (["--governor-models", "fats"], 2, ["Did you mean fast?"]),
    "configuration of figures": (["--config", "{tmp}/c.yaml", "--stats", "{tmp}/c.yaml"], 2, ["config and stats"]),
    "stats in a new folder": (["--source", "{tmp}/none.mkv", "--stats", "{tmp}/new/s.json"], 1, ["no file"]),
    "nobody's own folder": (["--source", "~nosuchuser/film.mp4"], 1, ["There is no file ~nosuchuser/film.mp4"]),
    "nothing": (["--source", ""], 2, ["input.source", "it is empty"]),
    "long name": (["--source", "a" * 300], 1, ["cannot be opened", "File name too long"]),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("mistakes")
    clip = encode(path / "clip.mkv", 5)
    whole = encode(path / "whole.mp4", 50)
    make(path / "empty.mp4", b"")
    make(path / "text.mp4", b"this is no film\n" * 50)
    make(path / "text.onnx", b"this is no network\n" * 50)
    make(path / "cut.mp4", whole.read_bytes()[: whole.stat().st_size // 2])
    make(path / "typo.yaml", b"input: {sorce: demo}\n")
    make(path / "c.yaml", b"output: {headless: true}\n")
    make(path / "type.yaml", b"input: {fps: fast}\n")
    os.mkfifo(path / "pipe.mkv")
    for name in ("unreadable.mp4", "unreadable.png", "unreadable.onnx"):
        make(path / name, b"secret").chmod(0)
    for name, mode in (("closed", 0), ("unlisted", 0o311)):
        (path / name).mkdir(mode)
    (path / "folder.mp4").mkdir()
    cv2.imwrite(str(path / "1x1.png"), np.zeros((1, 1, 3), np.uint8))
    cv2.imwrite(str(path / "huge.png"), np.zeros((6000, 6000), np.uint8))
    assert clip.exists()
    yield path
    for name in ("closed", "unlisted"):  # so that they can be deleted
        (path / name).chmod(0o700)


PLAIN = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all"]
"""For root, who else may read everything."""


# Processes that have imported everything already, which takes a second: each is a fork of this one.
MOTHER = """
import json, os, sys
import app.session
import app.sinks.recording.segmented, app.sources.video, engines.openvino.engine
from app.application import main
for line in sys.stdin:
    arguments, out, err = json.loads(line)
    child = os.fork()
    if not child:
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY), number)
        sys.exit(main(arguments))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="module")
def mother() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*(PLAIN if os.geteuid() == 0 else []), sys.executable, "-c", MOTHER],
        cwd=ROOT,
        env=without_display() | {"CUDA_VISIBLE_DEVICES": ""},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(LIMIT) == 0


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_answered_in_words(folder: Path, name: str, mother: subprocess.Popen[str], tmp_path: Path) -> None:
    arguments, code, told = MISTAKES[name]
    arguments = [*(a.format(tmp=folder) for a in arguments), "--headless"]
    if not {"--source", "--camera"} & set(arguments):
        arguments += ["--source", str(folder / "clip.mkv")]
    out, err = tmp_path / "out", tmp_path / "err"
    assert mother.stdin is not None and mother.stdout is not None
    print(json.dumps([arguments, str(out), str(err)]), file=mother.stdin, flush=True)
    status = int(mother.stdout.readline())
    assert status == code, err.read_text()
    assert out.read_text() == ""
    assert "Traceback" not in err.read_text() and "should not have happened" not in err.read_text()
    for part in told:
        assert part.format(tmp=folder) in err.read_text()
    assert not (folder / "new").exists()


def test_options_without_effect_are_told_once_and_those_of_a_file_are_not(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("kiosk: {languages: [ko], sweep: 5}\noutput: {headless: true, fullscreen: true}\n")
    given = ["--fullscreen", "--magnifier", "--reconnect", "--governor-fps", 5, "--no-tls"]
    given += ["--attract", folder / "clip.mkv"]
    done = run("--config", tmp_path / "c.yaml", "--source", folder / "clip.mkv", "--record-overlay", *given)
    assert done.returncode == 0, done.stderr
    for flag in ("--fullscreen", "--magnifier", "--reconnect", "--attract", "--governor-fps", "--record-overlay"):
        assert done.stderr.count(f"{flag} has no effect") == 1, done.stderr
    assert done.stderr.count("has no effect") == 6


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
    overlays = ("DetailTracker", "SplitView", "SplitMarks", "Magnifier", "StatsPanel")
    sinks = ("Snapshot", *overlays, "OnDemandRecorder", "Report", "Watchdog")
    once = {"recorder: encode", *(f"MainThread: {name}" for name in sinks)}
    often = {"capture: capture", "MainThread: collect"}
    assert set(entered) == {*once, *often, *read}
    assert {entered[name] for name in once} == {count}
    assert all(entered[name] >= count for name in often)


def test_what_is_recorded_as_shown_needs_no_window(folder: Path, tmp_path: Path) -> None:
    done = run(
        *("--source", folder / "clip.mkv", "--headless", "--engine", "bicubic", "--view", "split", "--no-overlay"),
        *("--record-overlay", "--record", tmp_path / "a.mkv"),
    )
    assert done.returncode == 0 and "no effect" not in done.stderr, done.stderr
    # The clip is all of one grey; the wipe's divider and labels are not.
    assert frames(tmp_path / "a.mkv")[0].to_ndarray(format="gray").std() > 3


def test_what_a_run_that_cannot_begin_has_opened_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(*_: object, **__: object) -> None:
        raise SinkError("There is no display")

    config = Config.model_validate(
        {
            "input": {"source": "demo"},
            "recording": {"file": tmp_path / "film.mp4", "folder": tmp_path, "segment": 60},
        }
    )
    monkeypatch.setattr(PersistentWindow, "open", nowhere)
    before = set(threading.enumerate())
    with pytest.raises(SinkError, match="no display"):
        app.session.run(config, SessionContext(Lifecycle(config, lambda: config)))
    assert not set(threading.enumerate()) - before
    assert not list(tmp_path.iterdir())


def test_no_display_suggests_headless(folder: Path) -> None:
    done = run("--source", folder / "clip.mkv")
    assert done.returncode == 1
    assert "--headless" in done.stderr
    assert "Traceback" not in done.stderr


def test_verbose_shows_where(folder: Path) -> None:
    done = run("--source", folder / "none.mkv", "--headless", "--verbose")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


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
    assert frames(out)


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
    assert sorted(len(frames(path)) for path in (tmp_path / "kept").iterdir()) == [30, 50, 50]


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
            wait_for(tmp_path / name, 1000)
        first = (tmp_path / "a.png").stat().st_mtime_ns
        config.write_text(json.dumps(made | {"engine": {"name": "bicubic", "depth": 1}}))
        asked = datetime.now().astimezone()
        process.send_signal(signal.SIGHUP)
        for name in ("a-2.png", "a-2.mp4"):
            wait_for(tmp_path / name, 1000)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    assert first <= (tmp_path / "a.png").stat().st_mtime_ns < (tmp_path / "a-2.png").stat().st_mtime_ns
    figures = json.loads((tmp_path / "s.json").read_text())
    assert [one["path"] for one in figures["recordings"]] == [str(tmp_path / "a-2.mp4")]
    assert datetime.fromisoformat(figures["since"]) >= asked.replace(microsecond=0)
    assert frames(tmp_path / "a.mp4") and len(frames(tmp_path / "a-2.mp4")) == figures["recording"]["frames"]


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


def test_the_end_may_come_while_a_stream_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
        process = stack.enter_context(start("--source", f"http://127.0.0.1:{server.getsockname()[1]}/", "--headless"))
        server.settimeout(LIMIT)
        stack.enter_context(server.accept()[0])  # which takes the call and says nothing
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0 and "Error" not in err, err


def test_a_run_that_fails_at_once_costs_no_recording(tmp_path: Path) -> None:
    (tmp_path / "a.mkv").write_bytes(b"an old film")
    (tmp_path / "text.onnx").write_bytes(b"no network")
    done = run("--source", "demo", "--headless", "--record", tmp_path / "a.mkv", "--model", tmp_path / "text.onnx")
    assert done.returncode == 1 and "not an ONNX model" in done.stderr
    assert (tmp_path / "a.mkv").read_bytes() == b"an old film"


BY_MODULE = "import runpy; runpy.run_path('app/run.py', run_name='__main__')"  # as -m app.run does
BY_SCRIPT = "from app.run import main_entry; main_entry()"  # as setup.py has it


@pytest.mark.parametrize("entry", [BY_MODULE, BY_SCRIPT], ids=["module", "script"])
def test_ctrl_c_while_it_is_imported_ends_it_without_a_word(tmp_path: Path, entry: str) -> None:
    stuck = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(20)\n"
    (tmp_path / "yaml.py").write_text(stuck)  # in place of one of the modules that it needs
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", entry]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


# A thread that is in a library, whose clean-up at the thread's end aborts the process, as pycuda's does.
HANGING = """
import ctypes, logging, sys, threading, time
import app.application

def main():
    libc, key, begun = ctypes.CDLL(None), ctypes.c_uint(), threading.Event()
    libc.pthread_key_create(ctypes.byref(key), ctypes.cast(libc.abort, ctypes.c_void_p))
    def work():
        libc.pthread_setspecific(key, ctypes.c_void_p(1))
        begun.set()
        while True:
            time.sleep(0.001)
    threading.Thread(target=work, daemon=True).start()
    begun.wait(20)
    print("the last figures")
    print("the last words", file=sys.stderr)
    return 3

app.application.main = main
"""


@pytest.mark.parametrize("entry", [BY_MODULE, BY_SCRIPT], ids=["module", "script"])
def test_a_thread_that_hangs_in_a_driver_does_not_spoil_the_end(entry: str) -> None:
    command = [sys.executable, "-c", HANGING + entry]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stdout, done.stderr) == (3, "the last figures\n", "the last words\n")


def test_the_installed_command_is_that_entry() -> None:
    assert '"livesr=app.run:main_entry"' in (ROOT / "setup.py").read_text()


@pytest.mark.parametrize("option", ["--print-config", "--list"])
def test_an_output_that_is_full_is_told(option: str) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "app.run", option]
        done = subprocess.run(
            command, cwd=ROOT, env=without_display(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=LIMIT
        )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: Standard output cannot be written\n  No space left on device\n")
    assert "should not have happened" not in done.stderr and "ignored" not in done.stderr
