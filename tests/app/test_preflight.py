"""What would be written over what is read, by whatever name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest

from app.config.validation import from_mapping
from app.errors import ConfigError
from app.preflight import check_overwrites
from tests.support.clips import picture


def refused(file: Path | None = None, **sections: dict[str, Any]) -> str:
    """What is said of a configuration; "" if nothing is."""
    try:
        check_overwrites(from_mapping(sections, "test"), file)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("film.mp4", "film.mkv", "my.onnx", "c.yaml", "font.otf", "ca.pem", "token"):
        (tmp_path / name).write_text(name)
    (tmp_path / "hard.mp4").hardlink_to(tmp_path / "film.mp4")
    (tmp_path / "soft.mp4").symlink_to("film.mp4")
    (tmp_path / "pictures").mkdir()
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"pictures/{i}.png"), picture(i))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["film.mp4", "pictures/../film.mp4", "new/../film.mp4", "hard.mp4", "soft.mp4"])
def test_a_film_is_not_recorded_over_itself(folder: Path, name: str) -> None:
    told = refused(input={"source": str(folder / "film.mp4")}, recording={"file": name})
    assert "source and record are the same file" in told and "another name" in told
    assert not refused(input={"source": str(folder / "film.mp4")}, recording={"file": "new.mp4"})
    assert refused(input={"source": f"file://{folder}/fil%6D.mp4"}, recording={"file": name})


def test_nothing_is_written_over_what_the_run_reads(folder: Path) -> None:
    assert "config and stats" in refused(folder / "c.yaml", run={"stats": "c.yaml"})
    assert "attract and record" in refused(kiosk={"attract": "film.mp4"}, recording={"file": "hard.mp4"})
    assert "model and stats" in refused(engine={"model": "my.onnx"}, run={"stats": "my.onnx"})
    assert "governor-models and stats" in refused(governor={"models": ["fast", "./my.onnx"]}, run={"stats": "my.onnx"})
    assert "font and stats" in refused(kiosk={"font": "font.otf"}, run={"stats": "font.otf"})
    assert "tls-ca and stats" in refused(triton={"tls_ca": "ca.pem"}, run={"stats": "ca.pem"})
    assert "token-file and stats" in refused(triton={"token_file": "token"}, run={"stats": "token"})


def test_nothing_is_written_twice_to_one_file_even_if_it_is_not_there_yet(folder: Path) -> None:
    assert "snapshot and stats" in refused(output={"snapshot": "new.png"}, run={"stats": "./new.png"})
    (folder / "out").symlink_to("/dev/null")
    assert not refused(output={"snapshot": "out"}, run={"stats": "out"}), "a device takes what both write"


@pytest.mark.parametrize("source", ["pictures", "pictures/*", "p*/?.png", "pictures/0.png"])
def test_a_picture_of_the_sources_is_not_written_over(folder: Path, source: str) -> None:
    assert refused(input={"source": source}, output={"snapshot": "pictures/0.png"})
    assert refused(input={"source": source}, run={"stats": "pictures/0.png"})
    (folder / "pictures/stats.json").write_text("{}")
    for name in ("pictures/new.png", "pictures/stats.json"):
        assert not refused(input={"source": source}, run={"stats": name})


def test_a_folder_is_looked_through_only_for_what_is_there_already(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold a hundred thousand pictures, and lie on a slow share."""
    from app.sources import images

    looked = list[Path]()

    def listed(path: Path) -> list[Path]:
        looked.append(path)
        return []

    monkeypatch.setattr(images, "listed", listed)
    assert not refused(input={"source": "pictures"}, output={"snapshot": "new.png"}, recording={"file": "new.mkv"})
    assert not looked
    assert not refused(input={"source": "pictures"}, output={"snapshot": "pictures/0.png"})
    assert looked == [Path("pictures")]


def test_sources_that_are_no_files_are_nobodys_match(folder: Path) -> None:
    for source in ("demo", "rtsp://host/film.mp4", "gst:film.mp4", str(folder / "none")):
        assert not refused(input={"source": source}, recording={"file": "film.mp4"})
