"""The training photographs that packages bring: the largest of each, in one order, no screenshots."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from scripts.wallpapers import main


def put(path: Path, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


def test_the_largest_of_each_in_the_order_of_paths(tmp_path: Path) -> None:
    share, out = tmp_path / "share", tmp_path / "out"
    put(share / "wallpapers/Autumn/contents/images/80x60.png", (80, 60))
    put(share / "wallpapers/Autumn/contents/images/160x120.png", (160, 120))
    put(share / "wallpapers/Autumn/contents/images_dark/80x60.png", (80, 60))
    put(share / "wallpapers/Autumn/contents/screenshot.png", (400, 300))
    put(share / "backgrounds/zebra.jpg", (30, 20))
    put(share / "backgrounds/ape.jpg", (30, 20))
    (share / "backgrounds/alias.jpg").symlink_to("ape.jpg")
    (share / "backgrounds/broken.jpg").write_text("no picture")
    (share / "backgrounds/vector.svg").write_text("<svg/>")
    for _ in range(2):  # again is the same
        assert main([str(out), "--root", str(share)]) == 0
    found = sorted(out.iterdir())
    assert [file.name for file in found] == ["000-ape.jpg", "001-zebra.jpg", "002-160x120.png", "003-80x60.png"]
    assert Image.open(found[2]).size == (160, 120)


def test_no_packages_no_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "out"), "--root", str(tmp_path)]) == 2
    assert "Install the packages" in capsys.readouterr().err and not (tmp_path / "out").exists()
