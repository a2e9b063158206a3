"""A board's own encoder through GStreamer, which a program of ours stands in for."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from app.errors import SinkError
from app.pipeline.frame import Frame, OutputFrame
from app.sinks.recording import gst_encoder
from app.sinks.recording.recorder import Recorder
from app.system import board

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("model", "tools", "encoder"),
    [
        ("NVIDIA Jetson Orin Nano Developer Kit Super", True, "libx264"),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", True, "nvv4l2h264enc"),
        ("NVIDIA Jetson AGX Orin Developer Kit", True, "nvv4l2h264enc"),
        ("NVIDIA Jetson AGX Orin Developer Kit", False, "libx264"),
        ("Raspberry Pi 4 Model B Rev 1.4", True, "libx264"),
        ("", True, "libx264"),
    ],
)
def test_the_board_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, tools: bool, encoder: str
) -> None:
    (tmp_path / "model").write_text(model + "\0")
    monkeypatch.setattr(board, "MODEL_FILE", tmp_path / "model")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if tools else None)
    assert gst_encoder.choose("auto") == encoder
    assert gst_encoder.choose("libx264") == "libx264"
    monkeypatch.setattr(board, "MODEL_FILE", tmp_path / "none")  # as in a container
    assert gst_encoder.choose("auto") == "libx264"
    monkeypatch.setenv("LIVESR_BOARD", model)
    assert gst_encoder.choose("auto") == encoder


# gst-launch-1.0 at the vendor's end: takes I420 pictures from one pipe, gives H.264 into another.
LAUNCHER = """#!{python}
import re, sys, os, time
import av, numpy as np
from fractions import Fraction
text = " ".join(sys.argv)
width, height = (int(re.search(name + "=([0-9]+)", text)[1]) for name in ("width", "height"))
assert "nvv4l2h264enc" in text and "colorimetry=bt709" in text
codec = av.CodecContext.create("libx264", "w")
codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "yuv420p", Fraction(1, 30)
codec.options = {{"tune": "zerolatency", "g": "15"}}
size, count, fault = width * height * 3 // 2, 0, os.environ.get("FAULT", "")
while data := sys.stdin.buffer.read(size):
    if fault and count == 10:
        if fault == "hang":
            time.sleep(60)
        sys.exit(3)
    frame = av.VideoFrame.from_ndarray(np.frombuffer(data, np.uint8).reshape(height * 3 // 2, width), "yuv420p")
    frame.pts, count = count, count + 1
    for packet in codec.encode(frame):
        sys.stdout.buffer.write(bytes(packet))
        sys.stdout.buffer.flush()
for packet in codec.encode(None):
    sys.stdout.buffer.write(bytes(packet))
"""


@pytest.fixture
def launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = {"gst-launch-1.0": LAUNCHER.format(python=sys.executable), "gst-inspect-1.0": "#!/bin/sh\nexit 0\n"}
    for name, text in programs.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def test_the_boards_encoder_keeps_the_times(tmp_path: Path, launcher: None) -> None:
    recorder = Recorder(tmp_path / "a.mp4", encoder="nvv4l2h264enc", lossless=True)
    positions = [index / 30 + (0.4 if index > 12 else 0) for index in range(30)]
    for index, position in enumerate(positions):
        image = np.full((91, 160, 3), 8 * index, np.uint8)
        recorder.write(OutputFrame(image, Frame(image, index, 0, position)))
    recorder.close()
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.extradata, "an MP4 player wants the parameter sets up front"
        made = list(container.decode(video=0))
    assert [frame.time for frame in made] == pytest.approx(positions, abs=0.001)
    assert (made[0].width, made[0].height) == (160, 90)
    assert float(made[29].to_ndarray(format="bgr24").mean()) == pytest.approx(232, abs=4)


@pytest.mark.parametrize("fault", ["exit", "hang"])
def test_a_board_encoder_that_breaks_fails_the_recording_alone(
    tmp_path: Path, launcher: None, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("FAULT", fault)
    recorder = Recorder(tmp_path / "a.mp4", encoder="nvv4l2h264enc", lossless=True, board_timeout_s=1.0)
    image = np.zeros((480, 640, 3), np.uint8)
    with pytest.raises(SinkError, match="has failed"):
        for index in range(400):
            recorder.write(OutputFrame(image, Frame(image, index, 0, index / 30)))
    with contextlib.suppress(SinkError):
        recorder.close()


def test_a_board_without_gstreamer_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "")
    gst_encoder.check.cache_clear()
    with pytest.raises(SinkError, match="GStreamer's tools are not installed"):
        Recorder(tmp_path / "a.mp4", encoder="nvv4l2h264enc", lossless=True)
