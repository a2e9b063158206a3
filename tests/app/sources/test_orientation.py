"""--mirror and --rotate, from the kinds of source to what is recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.config.command_line import parse
from app.errors import ConfigError
from app.pipeline.frame import Frame, Origin
from app.session import open_input
from app.sources import open_source
from app.sources.orientation import OrientedSource, requested_orientation
from engines.base import fits
from scripts.kiosk.fake_camera import FakeCamera, FakeDevDir
from tests.support.clips import encode, jpeg, multipart, number, serve, take
from tests.support.program import run

CORNERS = ((30, 60), (90, 120))
"""The levels of a picture's quarters: upper left and right, lower left and right."""


def quartered(size: tuple[int, int] = (64, 48)) -> Any:
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    for row, levels in enumerate(CORNERS):
        for column, level in enumerate(levels):
            image[row * height // 2 : (row + 1) * height // 2, column * width // 2 : (column + 1) * width // 2] = level
    return image


def corners(image: Any) -> list[int]:
    """What `quartered` has become: the levels in reading order, rounded, as codecs change them a little."""
    height, width = image.shape[:2]
    centres = [image[y * height // 4, x * width // 4] for y in (1, 3) for x in (1, 3)]
    return [round(float(pixel.mean()) / 30) * 30 for pixel in centres]


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", [False, True])
def test_it_is_rotated_clockwise_and_then_mirrored(rotate: int, mirror: bool) -> None:
    image = np.random.default_rng(rotate).integers(0, 255, (49, 65, 3), np.uint8)
    expected = np.rot90(image, -rotate // 90)
    orientation = requested_orientation(mirror=mirror, rotate=rotate)
    width, height = orientation.size((65, 49))
    into = np.empty((height, width, 3), np.uint8)
    orientation.apply(image, into)
    assert np.array_equal(into, expected[:, ::-1] if mirror else expected)
    assert (width, height) == ((49, 65) if rotate in (90, 270) else (65, 49))


def test_what_a_frame_says_of_itself_stays_and_its_memory_goes_back() -> None:
    released: list[Any] = []

    class Two:
        name, fps, live, paced, camera = "two", 25.0, True, True, True

        def __iter__(self) -> Any:
            for index in (3, 5):
                yield Frame(quartered(), index, 7.0, index / 25, 0.5, on_release=released.append, origin=Origin.LIVE)

        def close(self) -> None:
            released.append("closed")

    source = OrientedSource(Two(), requested_orientation(mirror=True, rotate=0))
    assert (source.name, source.fps, source.live, source.paced, source.camera) == ("two", 25.0, True, True, True)
    places = set()
    for frame in source:
        assert (frame.captured, frame.position, frame.size) == (7.0, frame.index / 25, (64, 48))
        assert frame.decode >= 0.5 and corners(frame.image) == [60, 30, 120, 90]
        places.add(frame.image.ctypes.data)
        frame.release()
    source.close()
    assert len(places) == 1 and len(released) == 3 and released[-1] == "closed"


def test_without_them_nothing_stands_between(dev: FakeDevDir) -> None:
    dev.plug(0)
    plain = open_source(camera=0, source=None, size=None, fps=None, loop=False, mirror=False, rotate=0)
    assert not isinstance(plain, OrientedSource)
    plain.close()


def test_the_command_line_and_the_file_take_the_same_values(tmp_path: Path) -> None:
    assert parse(["--rotate", "270", "--mirror"])[0].input.rotate == 270
    file = tmp_path / "a.yaml"
    file.write_text("input: {rotate: 90, mirror: true}")
    config, _ = parse(["--config", str(file), "--no-mirror"])
    assert (config.input.rotate, config.input.mirror) == (90, False)
    with pytest.raises(ConfigError, match="45"):
        parse(["--rotate", "45"])
    file.write_text("input: {rotate: 45}")
    with pytest.raises(ConfigError, match=r"input\.rotate cannot be 45") as error:
        parse(["--config", str(file)])
    assert "270" in error.value.facts


def test_a_camera_a_picture_and_the_demo(dev: FakeDevDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.kiosk.fake_camera.scene", lambda _count, size: quartered(size))
    dev.plug(0, "ok 64x48")
    (frame,) = take(open_input(parse(["--camera", "0", "--mirror"])[0]), 1)
    assert corners(frame.image) == [60, 30, 120, 90] and FakeCamera.last.released == 1
    cv2.imwrite(str(tmp_path / "a.png"), quartered())
    (frame,) = take(open_input(parse(["--source", str(tmp_path / "a.png"), "--rotate", "90"])[0]), 1)
    assert corners(frame.image) == [90, 30, 120, 60] and frame.size == (48, 64)
    (frame,) = take(open_input(parse(["--source", "demo", "--size", "64x48", "--rotate", "270"])[0]), 1)
    assert frame.size == (48, 64)


@pytest.mark.integration
def test_a_network_stream() -> None:
    with serve(lambda handler: multipart(handler, (jpeg(index) for index in range(3)))) as url:
        frames = take(open_input(parse(["--source", url, "--rotate", "90", "--mirror"])[0]), 2)
    assert [frame.size for frame in frames] == [(48, 64)] * 2 and number(frames[0].image) == 0


@pytest.mark.integration
def test_a_camera_that_is_waited_for_turns_and_its_attract_loop_does_not(
    dev: FakeDevDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attract loop has texts of its own, and is fitted into the turned picture."""
    monkeypatch.setattr("scripts.kiosk.fake_camera.scene", lambda count, size: quartered(size) + np.uint8(count % 2))
    film = tmp_path / "attract"
    film.mkdir()
    cv2.imwrite(str(film / "a.png"), quartered((48, 64)))
    arguments = f"--camera 0 --reconnect --mirror --rotate 90 --size 64x48 --frozen-after 0.2 --attract {film}"
    source = open_input(parse([*arguments.split(), "--attract-after", "0"])[0])
    seen: dict[Origin, Any] = {}
    for frame in source:
        assert frame.size == (48, 64)
        if frame.origin is Origin.HELD and frame.origin not in seen:
            dev.plug(0, "ok 64x48")
        seen[frame.origin] = frame.image.copy()
        if Origin.LIVE in seen and frame.origin is Origin.LIVE:
            dev.unplug(0)
        if frame.origin is Origin.ATTRACT and Origin.LIVE in seen:
            source.close()
    assert corners(seen[Origin.LIVE]) == [30, 90, 60, 120]
    assert corners(seen[Origin.ATTRACT]) == [30, 60, 90, 120]


@pytest.mark.e2e
def test_recordings_and_snapshots_show_what_the_screen_shows(tmp_path: Path) -> None:
    import av

    (tmp_path / "in").mkdir()
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"in/{index}.png"), quartered((96, 64)))
    film, snapshot, stats = tmp_path / "a.mkv", tmp_path / "a.png", tmp_path / "a.json"
    asked = ["--source", tmp_path / "in", "--rotate", "90", "--mirror", "--headless", "--engine", "bicubic"]
    done = run(*asked, "--record", film, "--snapshot", snapshot, "--stats", stats)
    assert done.returncode == 0, done.stderr
    figures = json.loads(stats.read_text())
    assert figures["input"]["width"] == 64 and figures["output"] == {"width": 128, "height": 192}
    with av.open(str(film)) as container:
        recorded = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    assert [corners(image) for image in recorded] == [[30, 90, 60, 120]] * 2
    both = cv2.imread(str(snapshot))
    assert both is not None
    for half in (both[:, :128], both[:, 128:]):
        # Above the labels: the lower quarters are looked at a little higher.
        assert [round(float(half[y, x].mean()) / 30) * 30 for y in (40, 110) for x in (32, 96)] == [30, 90, 60, 120]


def test_an_upright_picture_of_the_largest_size_fits() -> None:
    assert fits((4096, 2160)) and fits((2160, 4096)) and not fits((2161, 4096)) and not fits((15, 64))


@pytest.mark.integration
def test_a_film_keeps_the_order_of_its_pictures(tmp_path: Path) -> None:
    frames = take(open_input(parse(["--source", str(encode(tmp_path / "a.mkv", 2)), "--rotate", "270"])[0]), 2)
    assert [frame.size for frame in frames] == [(48, 64)] * 2 and [number(f.image) for f in frames] == [0, 1]
