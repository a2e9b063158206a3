"""Evaluation: the measure, the layout of a test set, the figures of a miniature one, what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.base import Image
from scripts.evaluate import main, measure, sets
from scripts.testsets import luma, pairs, psnr, read


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def drawn(number: int, size: tuple[int, int]) -> Image:
    """A clean drawing with lines at all angles: what a trained network must do better than bicubic."""
    width, height = size
    image = np.full((height, width, 3), (40 + 30 * number, 90, 160), np.uint8)
    for step in range(0, 180, 15):
        angle = np.deg2rad(step + 5 * number)
        end = (int(width / 2 + width * np.cos(angle)), int(height / 2 + height * np.sin(angle)))
        cv2.line(image, (width // 2, height // 2), end, (230, 220, 210), 2, cv2.LINE_AA)
    cv2.circle(image, (width // 3, height // 2), height // 4, (10, 20, 30), 3, cv2.LINE_AA)
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one set, Mini, of two pictures at x2."""
    (tmp_path / "sets/Mini/x2").mkdir(parents=True)
    for number, size in enumerate(((96, 80), (70, 102))):
        high = drawn(number, size)
        # The area filter is not the published sets' filter, but needs no other library and has no overshoot.
        low = cv2.resize(high, (size[0] // 2, size[1] // 2), interpolation=cv2.INTER_AREA)
        for kind, image in (("HR", high), ("LR", low)):
            cv2.imwrite(str(tmp_path / f"sets/Mini/x2/img_{number:03}_SRF_2_{kind}.png"), image)
    return tmp_path / "sets"


def test_luma_is_bt601() -> None:
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    # ITU-R BT.601-7, 8-bit studio levels of black, white, blue, green, red.
    assert luma(colours)[0] == pytest.approx([16, 235, 40.966, 144.553, 81.481])


def test_psnr_against_values_worked_out_by_hand() -> None:
    truth = np.full((6, 8, 3), 100, np.uint8)
    image = truth.copy()
    assert psnr(image, truth, border=0) == float("inf")
    image += 10  # luma differs by 10 * 219 / 255 everywhere
    step = 10 * 219 / 255
    assert psnr(image, truth, border=0) == pytest.approx(20 * np.log10(255 / step))
    image[:] = truth
    image[3, 4] += 10  # one pixel of 48, or of the 8 that are left without a border of 2
    assert psnr(image, truth, border=0) == pytest.approx(10 * np.log10(255**2 / (step**2 / 48)))
    assert psnr(image, truth, border=2) == pytest.approx(10 * np.log10(255**2 / (step**2 / 8)))
    image[0, 0] = 0  # in the border
    assert psnr(image, truth, border=2) == pytest.approx(10 * np.log10(255**2 / (step**2 / 8)))


def test_pairs_belong_together(folder: Path) -> None:
    found = list(pairs(folder / "Mini", 2))
    assert [name for name, _, _ in found] == ["img_000_SRF_2_LR", "img_001_SRF_2_LR"]
    assert [(low.shape, high.shape) for _, low, high in found] == [
        ((40, 48, 3), (80, 96, 3)),
        ((51, 35, 3), (102, 70, 3)),
    ]
    assert list(pairs(folder / "Mini", 3)) == []


def test_a_miniature_set_is_measured_through_the_engine(folder: Path) -> None:
    result = measure(folder / "Mini", "openvino", "fast")
    assert result is not None
    assert (result.set, result.model, result.pictures) == ("Mini", "fast", 2)
    # By hand: OpenCV's bicubic, the mean of the pictures' figures.
    by_hand = []
    for _, low, high in pairs(folder / "Mini", 2):
        large = cv2.resize(low, (high.shape[1], high.shape[0]), interpolation=cv2.INTER_CUBIC)
        by_hand.append(psnr(np.asarray(large, np.uint8), high, border=2))
    assert result.bicubic == pytest.approx(np.mean(by_hand), abs=1e-6)
    assert result.gain > 1, "the shipped network draws lines no better than bicubic"


def test_the_bicubic_engine_gains_nothing(folder: Path) -> None:
    result = measure(folder / "Mini", "bicubic", "fast")
    assert result is not None and result.gain == 0


def test_table_and_json(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--json", str(tmp_path / "figures.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["set", "model"] and lines[1].split()[:2] == ["Mini", "fast-x2-int8"]
    figures, _ = json.loads((tmp_path / "figures.json").read_text())
    assert figures["gain"] == pytest.approx(figures["psnr"] - figures["bicubic"])
    assert f"{figures['psnr']:.2f}" in lines[1]


def test_a_set_may_be_named_itself(folder: Path) -> None:
    assert sets(folder) == sets(folder / "Mini") == [folder / "Mini"]


def test_what_cannot_be_measured(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return captured.err

    assert "There is no folder" in told(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    assert "There is no test set in" in told(tmp_path / "empty")
    assert "There is no model called fats" in told(folder, "--model", "fats")
    assert "cannot be used" in told(folder, "--engine", "triton")
    assert "no-folder" in told(folder, "--json", tmp_path / "no-folder/figures.json")
    (folder / "Mini/x2/img_001_SRF_2_HR.png").unlink()
    assert "img_001_SRF_2_HR.png is missing" in told(folder)
    with pytest.raises(FileNotFoundError):
        read(folder / "Mini")
