"""docs/quality.md: its tables, goals, plot and crops, of findings that are known."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.base import Image
from scripts.common.test_sets import psnr
from scripts.evaluation import webcam_set
from scripts.evaluation.findings import Cleaning, Finding, Findings, Flicker
from scripts.evaluation.flicker import FLICKER_FRAMES
from scripts.evaluation.measure import PictureSet, Score
from scripts.reporting import crop_sheets, gallery, plot, quality_page
from scripts.reporting.goals import goals
from scripts.reporting.published_figures import PUBLISHED_NETWORKS
from tests.fakes import peer_venv
from tests.support.flicker_films import film, noisy

ABOUT = {"processor": "an abacus", "cores": 2, "python": "3.12", "versions": {"openvino": "2026.4"}}


def entry(name: str, precision: str, psnr: float, ms: float | None, scale: int = 2) -> Finding:
    scores = {"Set5": Score(psnr, 0.95), "Set14": Score(psnr - 4, 0.9)}
    return Finding(name, scale, precision, scores, [] if ms is None else [ms, ms + 1, ms + 2], 12_964)


@pytest.fixture
def found() -> Findings:
    """Of a fast model that is a little worse than asked for, but quick."""
    return Findings(
        (640, 360),
        2,
        entries=[
            entry("bicubic", "", 33.97, 1),
            entry("FSRCNN", "", 34.85, 200),
            entry("ESPCN", "", 34.76, 109),
            entry("fast-x2", "fp32", 37.19, 30),
            entry("fast-x2", "bf16", 37.17, 20),
            entry("fast-x2", "fp16", 37.165, None),
            entry("fast-x2", "int8", 37.0, 10),
            entry("bicubic", "", 28.4, 2, scale=4),
        ],
        eager={"fast-x2": [79, 90, 99]},
        cleaning=[
            Cleaning("bicubic", "", Score(25.0, 0.7)),
            Cleaning("fast-x2", "int8", Score(25.5, 0.71)),
            Cleaning("fast-webcam-x2", "int8", Score(26.2, 0.75)),
        ],
        degraded="Set14",
        flicker=[
            Flicker("hall", "bicubic", "", 0.4),
            Flicker("hall", "fast-x2", "int8", 0.5),
            Flicker("hall", "fast-webcam-x2", "int8", 0.3),
        ],
        clips={"hall": "640x480, 2 x 30 frames, 46% static"},
    )


def test_goals_are_held_against_what_was_found(found: Findings) -> None:
    met = {what: (got, good) for what, _, got, good in goals(found)}
    assert met == {
        "fast-x2 int8 against FSRCNN_x2: speed-up": ("18.3x", True),
        "fast-x2 int8 against FSRCNN_x2: Set5": ("+2.15 dB", True),
        "fast-x2 int8 against ESPCN_x2: speed-up": ("10.0x", True),
        "fast-x2 int8 against ESPCN_x2: Set5": ("+2.24 dB", True),
        "fast-x2 int8 against the same network in eager PyTorch, fp32: speed-up": ("8.2x", True),
        "fast-x2: speed-up of int8 over bf16": ("1.91x", True),
        "fast-x2: Set5 / Set14": ("37.19 / 33.19", False),
        "fast-x2: parameters": ("13.0 K", False),
        "fp16: greatest loss on Set5": ("0.025 dB (fast-x2)", False),
        "int8: greatest loss on Set5": ("0.190 dB (fast-x2)", False),
        "fast-webcam-x2 int8 over bicubic, degraded Set14": ("+1.20 dB", True),
        "fast-webcam-x2 int8 over fast-x2, degraded Set14": ("+0.70 dB", False),
        "fast-webcam-x2 int8: flicker on hall": ("0.75x", True),
    }


def test_nothing_is_claimed_of_what_was_not_measured() -> None:
    assert goals(Findings((640, 360), 2)) == []


def test_the_page(found: Findings) -> None:
    text = quality_page.render(found, PUBLISHED_NETWORKS, ABOUT)
    lines = text.splitlines()
    assert "| **fast-x2** | int8 | 13.0 K | 37.00 | 0.9500 | 33.00 | 0.9000 | 11.0 | 91 |" in lines
    assert "| FSRCNN | OpenCV dnn_superres | 13.0 K | 34.85 | 0.9500 | 30.85 | 0.9000 | 201.0 | 5 |" in lines
    # What is published is in italics, what is measured is not.
    (row,) = (line for line in lines if line.startswith("| *ECBSR-M4C16*") and "| x2 |" in line)
    assert row.split(" | ")[3:] == ["*37.18*", "*32.79*", "fast-x2", "37.19 (+0.01)", "33.19 (+0.40) |"]
    (row,) = (line for line in lines if line.startswith("| *ETDS-L*") and "| x2 |" in line)
    assert "not shipped" in row
    assert "| fast-x2 | 0.020 | 0.025 | 0.190 |" in lines
    assert "| **fast-webcam-x2** | int8 | 26.20 | 0.7500 | +1.20 | +0.70 |" in lines
    assert "| hall | 640x480, 2 x 30 frames, 46% static | 0.400 | 0.500 (1.25x) | 0.300 (0.75x) |" in lines
    assert "an abacus" in text and "CC BY 4.0" in text and "{" not in text
    assert "### x2" in text and "### x4" not in text and "quality-x4.jpg" not in text
    # Every table has as many cells in each row as it has titles.
    for above, line in pairwise(lines):
        if above.startswith("|") and line.startswith("|"):
            assert above.count("|") == line.count("|"), line


def test_a_third_set_is_another_column_and_nothing_else(found: Findings) -> None:
    """B100 comes before Set14 in the alphabet and by its length."""
    for one in found.entries:
        one.scores["B100"] = Score(20.0, 0.5)
    text = quality_page.render(found, PUBLISHED_NETWORKS, ABOUT)
    assert "| Set5 PSNR | SSIM | Set14 PSNR | SSIM | B100 PSNR | SSIM |" in text
    assert "| fast-x2: Set5 / Set14 | 37.20 / 32.80 dB | 37.19 / 33.19 | **no** |" in text
    assert "37.19 (+0.01) | 33.19 (+0.40) |" in text and "three pictures of Set14" in text
    assert text.count("B100") == 1


@pytest.mark.integration
def test_the_plot(found: Findings, tmp_path: Path) -> None:
    points, levels = quality_page.points(found, PUBLISHED_NETWORKS)
    assert {point.name for point in points} == {
        "bicubic", "FSRCNN", "ESPCN", "fast", "FSRCNN, published", "ESPCN, published",
    }  # fmt: skip
    assert [point.ms for point in points if point.name.startswith("FSRCNN")] == [201, 201]
    assert levels.keys() == {"ECBSR-M4C16", "ECBSR-M4C32", "ETDS-L"}
    for dark in (False, True):
        plot.write(points, levels, tmp_path / "plot.png", dark=dark, title="a test")
        picture = cv2.imread(str(tmp_path / "plot.png"))
        assert picture is not None and picture.shape[1] > 800
        assert (picture[0, 0].mean() < 64) == dark
    with pytest.raises(plot.PlotError):
        plot.write(points, levels, tmp_path / "no folder/plot.png", dark=False, title="")


def blank(height: int = 60, width: int = 80) -> Image:
    return np.full((height, width, 3), 90, np.uint8)


def test_crops_show_where_pictures_differ_most() -> None:
    other = blank()
    other[20:30, 50:60] = 200
    other[3:9, 4:10] = 120
    first, second = crop_sheets.most_different(blank(), other, 12, count=2)
    assert 18 <= first.y <= 20 and 48 <= first.x <= 50, "the greater difference comes first, all of it inside"
    assert second.y <= 3 and second.x <= 4 and second.mean < first.mean
    assert first.cut(other, 12).shape == (12, 12, 3)


def test_a_sheet_has_all_its_crops(tmp_path: Path) -> None:
    red, green = blank(10, 10), blank(10, 10)
    red[:], green[:] = (0, 0, 255), (0, 255, 0)
    sheet = crop_sheets.sheet([[("one", red), ("two", green)], [("a name much too long for ten pixels", green)]], 4)
    assert sheet.shape == (
        2 * (crop_sheets.LABEL_HEIGHT_PX + 40) + crop_sheets.CROP_GAP_PX,
        2 * 40 + crop_sheets.CROP_GAP_PX,
        3,
    )
    assert (sheet[crop_sheets.LABEL_HEIGHT_PX : crop_sheets.LABEL_HEIGHT_PX + 40, :40] == red[0, 0]).all()
    assert (
        sheet[crop_sheets.LABEL_HEIGHT_PX : crop_sheets.LABEL_HEIGHT_PX + 40, 40 + crop_sheets.CROP_GAP_PX :]
        == green[0, 0]
    ).all()
    assert sheet[: crop_sheets.LABEL_HEIGHT_PX, :40].max() > 200, "no label"
    crop_sheets.write(sheet, tmp_path / "sheet.jpg")
    assert cv2.imread(str(tmp_path / "sheet.jpg")) is not None
    with pytest.raises(crop_sheets.CropError):
        crop_sheets.write(sheet, tmp_path / "no folder/sheet.jpg")


def test_a_sheet_of_a_set_ends_with_the_truth() -> None:
    random = np.random.default_rng(0)
    pairs = []
    for number in range(4):
        high = random.integers(0, 256, (80, 96, 3), np.uint8)
        pairs.append((f"img_{number:03}", np.asarray(cv2.resize(high, (48, 40)), np.uint8), high))
    sheet = gallery.against_truth(PictureSet("Mini", 2, pairs), [("nearest", gallery.nearest(2))])
    side = gallery.CROP_SIDE_PX[2] * gallery.CROP_ZOOM[2]
    assert sheet.shape[:2] == (
        3 * (side + crop_sheets.LABEL_HEIGHT_PX + crop_sheets.CROP_GAP_PX) - crop_sheets.CROP_GAP_PX,
        3 * (side + crop_sheets.CROP_GAP_PX) - crop_sheets.CROP_GAP_PX,
    )
    truth, input = (
        sheet[crop_sheets.LABEL_HEIGHT_PX : crop_sheets.LABEL_HEIGHT_PX + side, -side:],
        sheet[crop_sheets.LABEL_HEIGHT_PX : crop_sheets.LABEL_HEIGHT_PX + side, :side],
    )
    place = crop_sheets.most_different(
        np.asarray(cv2.resize(pairs[0][1], (96, 80), interpolation=cv2.INTER_CUBIC), np.uint8), pairs[0][2], 64
    )[0]
    assert (truth[::3, ::3] == place.cut(pairs[0][2], 64)).all() and (input != truth).any()


@pytest.mark.integration
def test_a_set_is_degraded_the_same_way_each_time() -> None:
    high = np.random.default_rng(0).integers(0, 256, (41, 63, 3), np.uint8)
    clean = PictureSet("Mini", 2, [("a", high[:20, :31], high), ("b", high[:20, :31], high)])
    one, other = webcam_set.degraded(clean), webcam_set.degraded(clean)
    assert [low.shape for _, low, _ in one.pairs] == [(20, 31, 3)] * 2
    assert [truth.shape for _, _, truth in one.pairs] == [(40, 62, 3)] * 2
    for (_, low, truth), (_, again, _) in zip(one.pairs, other.pairs, strict=True):
        assert (low == again).all() and (truth == high[:40, :62]).all()
    assert (one.pairs[0][1] != one.pairs[1][1]).any(), "all pictures are degraded alike"
    plain = next(webcam_set.measure(one, []))
    size, kind = (62, 40), cv2.INTER_CUBIC
    large = [(np.asarray(cv2.resize(low, size, interpolation=kind), np.uint8), truth) for _, low, truth in one.pairs]
    assert plain.score.psnr == pytest.approx(np.mean([psnr(*pair, border=2) for pair in large]), abs=1e-6)
    assert (plain.name, plain.precision) == ("bicubic", "")


@pytest.mark.integration
def test_what_is_missing_is_told_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from scripts.quality import main

    def told(sets: Path, peers: Path, clips: Path, *more: str) -> str:
        folders = ["--sets", str(sets), "--peers", str(peers), "--clips", str(clips), "--out", str(tmp_path)]
        assert main([*folders, *more]) == 2
        shown = capsys.readouterr()
        assert not shown.out and not list(tmp_path.glob("*.md"))
        return shown.err

    assert "There is no folder" in told(tmp_path / "sets", tmp_path, tmp_path)
    small_set(tmp_path / "sets/Set5")
    assert "Set5 and Set14 are needed" in told(tmp_path / "sets", tmp_path, tmp_path)
    small_set(tmp_path / "sets/Set14")
    assert "There are no peers in" in told(tmp_path / "sets", tmp_path, tmp_path)
    (tmp_path / "FSRCNN_x2.pb").touch()
    assert "There are no films in" in told(tmp_path / "sets", tmp_path, tmp_path)
    (tmp_path / "clips").mkdir()
    film(tmp_path / "clips/hall.mkv", noisy(FLICKER_FRAMES, 1.0))
    for option in ("--out", "--json"):
        place = str(tmp_path / "FSRCNN_x2.pb" / "here")  # in a file
        assert place in (said := told(tmp_path / "sets", tmp_path, tmp_path / "clips", option, place))
        assert "cannot be written" in said
    shutil.rmtree(tmp_path / "sets/Set14/x2")
    (tmp_path / "sets/Set14/x3").mkdir()
    cv2.imwrite(str(tmp_path / "sets/Set14/x3/img_001_SRF_3_LR.png"), blank())
    cv2.imwrite(str(tmp_path / "sets/Set14/x3/img_001_SRF_3_HR.png"), blank(180, 240))
    assert "Set14 has no pictures for x2" in told(tmp_path / "sets", tmp_path, tmp_path / "clips")


def small_set(folder: Path) -> None:
    """One picture at x2."""
    (folder / "x2").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (80, 96, 3), np.uint8)
    high = cv2.GaussianBlur(noise, (0, 0), 2)
    low = cv2.resize(high, (48, 40), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(folder / "x2/img_001_SRF_2_HR.png"), high)
    cv2.imwrite(str(folder / "x2/img_001_SRF_2_LR.png"), low)


@pytest.mark.integration
@pytest.mark.torch
def test_one_run_of_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small, with a stand-in for OpenCV's module; the rest is real."""
    from engines.catalog import shipped as catalog
    from scripts.quality import main

    peer_venv.install(tmp_path, monkeypatch)
    models, out = tmp_path / "models", tmp_path / "docs"
    for folder in (models, out, tmp_path / "clips"):
        folder.mkdir()
    for file in catalog.MODELS_FOLDER.glob("fast-x2*.onnx"):
        (models / file.name).symlink_to(file)
        (models / file.name.replace("fast", "fast-webcam")).symlink_to(file)
    monkeypatch.setattr(catalog, "MODELS_FOLDER", models)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("Set5", "Set14"):
        small_set(tmp_path / "sets" / name)
    (tmp_path / "FSRCNN_x2.pb").touch()
    film(tmp_path / "clips/hall.mkv", noisy(FLICKER_FRAMES, 1.0))
    folders = ["--sets", str(tmp_path / "sets"), "--peers", str(tmp_path), "--clips", str(tmp_path / "clips")]
    short = ["--size", "48x32", "--threads", "1", "--seconds", "0.01", "--rounds", "1"]
    assert main([*folders, *short, "--out", str(out), "--json", str(tmp_path / "figures.json")]) == 0
    pictures = {"quality-x2.jpg", "quality-degraded.jpg", "quality-webcam.jpg"}
    plots = {"quality-plot-light.png", "quality-plot-dark.png"}
    assert {file.name for file in out.iterdir()} == pictures | plots | {"quality.md"}
    text = (out / "quality.md").read_text()
    assert all(name in text for name in pictures | plots)
    told = json.loads((tmp_path / "figures.json").read_text())
    timed = {(e["name"], e["precision"]) for e in told["entries"] if e["scale"] == 2 and e["rounds"]}
    assert timed >= {("bicubic", ""), ("FSRCNN", ""), ("fast-x2", "fp32"), ("fast-x2", "int8")}
    assert told["eager"].keys() == {"fast-x2"} and told["flicker"][0]["name"] == "bicubic"
    # The same file under both names: it cleans no better than itself.
    assert "| **fast-webcam-x2** | int8 |" in text and "+0.00 |" in text
