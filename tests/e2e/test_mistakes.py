"""Every mistake of a user is answered in words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

import app.application
import app.session
from app.config.schema import Config
from app.errors import SinkError
from app.lifecycle import Lifecycle
from app.session import SessionContext
from app.sinks.window import PersistentWindow
from tests.support.clips import encode
from tests.support.program import LIMIT, ROOT, run, without_display

pytestmark = pytest.mark.e2e


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
