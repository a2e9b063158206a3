"""Folders, patterns and single files of still pictures."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.errors import SourceError
from app.sources.images import ImageSequence
from tests.support.clips import number, numbers, picture, take

pytestmark = pytest.mark.media


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Twelve pictures in several formats, numbered without leading zeros, and something else."""
    folder = tmp_path / "album"
    folder.mkdir()
    for i in range(12):
        kind = ("png", "PNG", "bmp", "tif", "webp", "jpg")[i % 6]
        cv2.imwrite(str(folder / f"shot {i}.{kind}"), picture(i, (64, 48) if i % 2 else (31, 17)))
    (folder / "notes.txt").write_text("not a picture")
    return folder


def test_a_folder_in_natural_order(album: Path) -> None:
    source = ImageSequence.of(album, fps=4)
    assert (source.live, source.paced, source.fps) == (False, False, 4)
    frames = list(source)
    assert [number(frame.image) for frame in frames] == list(range(12))
    assert [frame.index for frame in frames] == list(range(12))
    assert [frame.position for frame in frames] == [i / 4 for i in range(12)]
    assert [frame.size for frame in frames[:2]] == [(31, 17), (64, 48)]


def test_a_pattern_and_a_single_file(album: Path) -> None:
    assert numbers(ImageSequence.of(album / "shot 1*")) == [1, 10, 11]
    assert numbers(ImageSequence.of(album.parent / "*" / "shot ?.bmp")) == [2, 8]
    single = ImageSequence.of(album / "shot 3.tif")
    assert single.name == "shot 3.tif" and single.fps == 1.0
    assert numbers(single) == [3]


def test_a_loop(album: Path) -> None:
    frames = take(ImageSequence.of(album / "shot ?.*", loop=True), 23)
    assert [number(frame.image) for frame in frames] == [*range(10), *range(10), 0, 1, 2]
    assert [frame.position for frame in frames] == list(range(23))


def test_unreadable_pictures_are_skipped(album: Path, caplog: pytest.LogCaptureFixture) -> None:
    (album / "shot 4.webp").write_bytes(b"")
    good = (album / "shot 6.png").read_bytes()
    (album / "shot 6.png").write_bytes(good[:40])
    frames = list(ImageSequence.of(album))
    assert [number(frame.image) for frame in frames] == [0, 1, 2, 3, 5, 7, 8, 9, 10, 11]
    assert [frame.index for frame in frames] == list(range(10))
    assert "shot 4.webp" in caplog.text and "shot 6.png" in caplog.text
    caplog.clear()
    take(ImageSequence.of(album, loop=True), 30)
    assert caplog.text.count("skipped") == 2, "as many lines as in one round"


def test_one_that_no_engine_takes_costs_the_others_nothing(album: Path, caplog: pytest.LogCaptureFixture) -> None:
    cv2.imwrite(str(album / "shot 3b.png"), picture(3, (6, 5)))
    cv2.imwrite(str(album / "shot 3c.png"), picture(3, (5000, 20)))
    assert numbers(ImageSequence.of(album)) == list(range(12))
    assert "shot 3b.png is 6x5, which cannot be upscaled" in caplog.text and "shot 3c.png is 5000x20" in caplog.text
    with pytest.raises(SourceError, match=r"No picture in .* can be used") as error:
        list(ImageSequence.of(album / "shot 3[bc].png", loop=True))
    assert "6x5" in error.value.facts
    # Alone it reaches the engine, whose message is to the point.
    assert [frame.size for frame in ImageSequence.of(album / "shot 3b.png")] == [(6, 5)]


def test_two_stars_within_a_name_are_one(album: Path) -> None:
    assert numbers(ImageSequence.of(album.parent / "alb**" / "shot ?**.bmp")) == [2, 8]
    assert numbers(ImageSequence.of(album.parent / "**" / "shot ?.bmp")) == [2, 8]


def test_a_photograph_taken_sideways_is_turned_upright(tmp_path: Path) -> None:
    shaded = np.zeros((48, 64, 3), np.uint8)
    shaded[:, :32] = 200
    jpeg = cv2.imencode(".jpg", shaded)[1].tobytes()
    # One entry in little-endian TIFF: orientation (0x0112), a short, 6: the left side of what is stored is the top.
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0) + bytes(4)
    file = tmp_path / "portrait.jpg"
    file.write_bytes(jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:])
    (frame,) = list(ImageSequence.of(file))
    assert frame.size == (48, 64)
    assert frame.image[:24].min() > 150 and frame.image[40:].max() < 50


def test_a_name_of_another_alphabet(album: Path) -> None:
    """Latin 1, as on old cards: OpenCV's own reader would end the process."""
    name = os.fsdecode(os.fsencode(album) + b"/old/caf\xe9.png")
    (album / "old").mkdir()
    Path(name).write_bytes((album / "shot 6.png").read_bytes())
    for source in (album / "old", Path(name)):
        assert [number(frame.image) for frame in ImageSequence.of(source)] == [6]


def test_nothing_to_read_is_an_error(album: Path) -> None:
    with pytest.raises(SourceError, match="no pictures") as error:
        ImageSequence.of(album / "*.txt")
    assert "notes.txt" in error.value.facts
    (album / "empty").mkdir()
    with pytest.raises(SourceError, match="no pictures"):
        ImageSequence.of(album / "empty")
    with pytest.raises(SourceError, match="no file") as error:
        ImageSequence.of(album / "shot 3.tiff")
    assert "shot 3.tif" in error.value.fix
    (album / "empty/a.png").write_text("text")
    with pytest.raises(SourceError, match="is not a picture"):
        ImageSequence.of(album / "empty/a.png")
    os.mkfifo(album / "pipe.png")
    with pytest.raises(SourceError, match=r"pipe\.png is not a file"):
        ImageSequence.of(album / "pipe.png")
    # A picture's first bytes and nothing behind them: found out only when read, and no endless loop.
    (album / "empty/a.png").write_bytes((album / "shot 0.png").read_bytes()[:40])
    with pytest.raises(SourceError, match="not a picture"):
        list(ImageSequence.of(album / "empty/a.png", loop=True))
