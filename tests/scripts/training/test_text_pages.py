"""Pages to learn print from: the same for the same fonts, of many kinds, and none without fonts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from scripts.pages import PAGE_SIZE, main

FONTS = Path(__file__).parents[3] / "app/overlays/texts"


@pytest.mark.integration
def test_the_same_pages_each_time_and_each_another(tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert main([str(tmp_path / name), "--pages", "2", "--fonts", str(FONTS)]) == 0
    first, second = sorted((tmp_path / "one").iterdir())
    assert [file.name for file in (first, second)] == ["page-000.png", "page-001.png"]
    assert first.read_bytes() == (tmp_path / "two" / first.name).read_bytes() != second.read_bytes()
    for file in (first, second):
        page = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        assert page is not None and page.shape == PAGE_SIZE[::-1]
        edges = np.abs(np.diff(page.astype(int), axis=1)) > 40
        assert 0.005 < edges.mean() < 0.4  # print, and paper between it


def test_without_fonts_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "StandardSymbolsPS.otf").touch()
    assert main([str(tmp_path / "out"), "--fonts", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "no fonts" in told and "Install" in told and not (tmp_path / "out").exists()
