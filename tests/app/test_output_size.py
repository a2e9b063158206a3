"""--output-size and --scale 1.5, from the command line to the window, the recording, the snapshot and --stats."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import av
import cv2
import numpy as np
import pytest

from app.config.command_line import parse
from app.engine_request import available_scales, engine_request, expected_output
from app.errors import ConfigError, SinkError
from app.pipeline.protocols import Source
from app.session import with_screen_size
from engines.errors import ModelError
from tests.support.program import run


def request(arguments: str, size: tuple[int, int] = (640, 360), *, camera: bool = False) -> Any:
    return engine_request(parse(arguments.split())[0], camera=camera, size=size)


@pytest.mark.parametrize(
    ("arguments", "size", "model", "scale", "output"),
    [
        ("--scale 1.5", (640, 360), "fast", 2, (960, 540)),
        ("--scale 2", (640, 360), "fast", 2, None),
        ("--scale 2.5", (640, 360), "fast", 3, (1600, 900)),
        ("--output-size 1920x1080", (640, 480), "fast", 3, (1440, 1080)),
        ("--output-size 1920x1080", (640, 360), "fast", 3, (1920, 1080)),
        ("--output-size 7680x4320", (640, 360), "fast", 4, (7680, 4320)),
        ("--output-size 1280x720 --model quality", (640, 360), "quality", 2, (1280, 720)),
        ("--output-size 1280x720 --scale 4", (640, 360), "fast", 4, (1280, 720)),
        ("--output-size 1280x720 --model fast-x3", (640, 360), "fast-x3", 3, (1280, 720)),
        ("--output-size 1280x720 --model own.onnx", (640, 360), "own.onnx", None, (1280, 720)),
        ("--scale 1.5 --engine triton://host/fast-x4", (640, 360), "fast", None, (960, 540)),
    ],
)
def test_the_next_larger_network_and_the_size(
    arguments: str, size: tuple[int, int], model: str, scale: int | None, output: tuple[int, int] | None
) -> None:
    made = request(arguments, size)
    assert (made.model, made.scale, made.output) == (model, scale, output)


def test_a_camera_gets_its_network_where_there_is_one() -> None:
    assert request("--scale 1.5", camera=True).model == "fast-webcam"


def test_the_governors_models_exist_in_that_scale() -> None:
    webcam_scales = available_scales(["fast-webcam"])
    arguments = "--model fast --governor --governor-models fast-webcam,bicubic --output-size 7680x4320"
    assert request(arguments).scale == max(webcam_scales & available_scales(["fast"]))
    assert not available_scales(["fast", "own.onnx"])


def test_what_is_expected_before_the_engine_is_there() -> None:
    source = cast("Source", SimpleNamespace(camera=False))
    for arguments, output in (("--scale 1.5", (960, 540)), ("--scale 3", (1920, 1080)), ("", (1280, 720))):
        assert expected_output(parse(arguments.split())[0], source)((640, 360)) == output
    with pytest.raises(ModelError):
        expected_output(parse("--model quality --scale 8".split())[0], source)  # noqa: SIM905 # as it is typed


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ("--scale 1.5 --output-size 640x480", "leave one out"),
        ("--output-size screen --headless", "headless there is no screen"),
        ("--output-size 8x8", "16"),
        ("--output-size large", "WIDTHxHEIGHT"),
        ("--scale 0.5", "greater than or equal to 1"),
        ("--model fast-x4 --scale 1.5", "leave one of them out"),
    ],
)
def test_what_cannot_be_is_refused(arguments: str, facts: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(arguments.split())
    assert facts in str(error.value)


def test_a_file_reads_back_what_was_given(tmp_path: Path) -> None:
    for arguments in ("--output-size screen", "--output-size 1920x1080", "--scale 1.5", "--scale 2"):
        config, _ = parse(arguments.split())
        (tmp_path / "a.yaml").write_text(config.as_yaml())
        assert parse(["--config", str(tmp_path / "a.yaml")])[0] == config
    assert "scale: 2\n" in parse(["--scale", "2"])[0].as_yaml()


def test_the_screens_size_is_asked_of_it(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    config, _ = parse(["--output-size", "screen"])
    monkeypatch.setenv("DISPLAY", display)
    assert with_screen_size(config).output.size == (1280, 800) and config.output.size == "screen"
    assert engine_request(with_screen_size(config), camera=False, size=(640, 480)).output == (1066, 800)


def test_without_a_screen_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    config, _ = parse(["--output-size", "screen"])
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(SinkError, match="not known") as error:
        with_screen_size(config)
    assert "1920x1080" in error.value.fix


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("asked", "output"),
    [(["--scale", "1.5"], (144, 96)), (["--output-size", "250x100", "--isolate"], (150, 100))],
    ids=["scale", "isolated"],
)
def test_all_that_is_kept_agrees(tmp_path: Path, asked: list[str], output: tuple[int, int]) -> None:
    (tmp_path / "in").mkdir()
    for index in range(3):
        picture = np.full((64, 96, 3), 60 + 40 * index, np.uint8)
        cv2.imwrite(str(tmp_path / f"in/{index}.png"), picture)
    film, snapshot, stats = tmp_path / "a.mkv", tmp_path / "a.png", tmp_path / "a.json"
    kept = ["--record", film, "--record-overlay", "--view", "split", "--snapshot", snapshot, "--stats", stats]
    done = run("--source", tmp_path / "in", "--headless", "--engine", "openvino", *asked, *kept)
    assert done.returncode == 0, done.stderr
    assert json.loads(stats.read_text())["output"] == {"width": output[0], "height": output[1]}
    with av.open(str(film)) as container:
        assert {(frame.width, frame.height) for frame in container.decode(video=0)} == {output}
    both = cv2.imread(str(snapshot))
    assert both is not None and both.shape[:2] == (output[1], 2 * output[0])
