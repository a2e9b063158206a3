"""The measure, the layout of a test set, the figures of a miniature one, what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from engines.base import Image
from engines.catalog import shipped as catalog
from scripts.common.test_sets import TestSetError, luma, pairs, psnr, read, ssim
from scripts.evaluate import EVALUATION_HEADER, main
from scripts.evaluation import upscalers
from scripts.evaluation.measure import EvaluateError, PictureSet, evaluate, sets

pytestmark = pytest.mark.integration


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


def test_ssim_against_the_formula() -> None:
    random = np.random.default_rng(0)
    truth = random.integers(0, 256, (24, 31, 3), np.uint8)
    image = np.asarray(np.clip(truth + random.normal(0, 20, truth.shape), 0, 255), np.uint8)
    assert ssim(truth, truth, border=2) == pytest.approx(1)
    # Wang et al. 2004, equation 13, a window of 11x11 at a time.
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weights = np.outer(line, line) / np.outer(line, line).sum()
    x, y, values = luma(image)[2:-2, 2:-2], luma(truth)[2:-2, 2:-2], []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            ma, mb = (weights * a).sum(), (weights * b).sum()
            va, vb, cov = (weights * a * a).sum(), (weights * b * b).sum(), (weights * a * b).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            above = (2 * ma * mb + c1) * (2 * (cov - ma * mb) + c2)
            values.append(above / ((ma**2 + mb**2 + c1) * (va - ma**2 + vb - mb**2 + c2)))
    assert ssim(image, truth, border=2) == pytest.approx(np.mean(values), abs=1e-6)
    with pytest.raises(TestSetError):
        ssim(truth[:12], truth[:12], border=2)


def test_a_miniature_set_is_measured_through_the_engine(folder: Path) -> None:
    exact, *others = evaluate(folder, "openvino", ["fast-x2"])
    assert (exact.set, exact.model, exact.precision, exact.pictures) == ("Mini", "fast-x2", "fp32", 2)
    # By hand: OpenCV's bicubic, the mean of the pictures' figures.
    by_hand = []
    for _, low, high in pairs(folder / "Mini", 2):
        large = cv2.resize(low, (high.shape[1], high.shape[0]), interpolation=cv2.INTER_CUBIC)
        by_hand.append(psnr(np.asarray(large, np.uint8), high, border=2))
    assert exact.bicubic.psnr == pytest.approx(np.mean(by_hand), abs=1e-6)
    assert exact.gain > 1, "the shipped network draws lines no better than bicubic"
    assert exact.score.ssim > exact.bicubic.ssim
    # Each precision once, and what it loses against the first row.
    assert {"fp16", "int8"} <= {one.precision for one in others} <= {"bf16", "f16", "fp16", "int8"}
    assert exact.loss is None
    for one in others:
        assert one.loss == pytest.approx(exact.score.psnr - one.score.psnr) and one.score != exact.score
    losses = {one.precision: abs(one.loss or 0) for one in others}
    assert losses["fp16"] < 0.02 and losses["fp16"] < losses["int8"]


def test_the_bicubic_engine_gains_nothing(folder: Path) -> None:
    (result,) = evaluate(folder, "bicubic", ["fast-x2-int8"])
    assert result.gain == 0 and result.loss is None


def test_float16_rounds_every_value(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    half = np.float16
    weight = numpy_helper.from_array(np.array([1 / 3, 1 / 7, 1 / 9], half).reshape(1, 3, 1, 1), "w")
    bias = numpy_helper.from_array(np.array([0.1], half), "b")
    ten = numpy_helper.from_array(np.array([10], half), "ten")
    nodes = [
        helper.make_node("Cast", ["frame"], ["a"], to=TensorProto.FLOAT16),
        helper.make_node("Transpose", ["a"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["t", "w", "b"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("Mul", ["c", "ten"], ["m"]),
        helper.make_node("Cast", ["m"], ["sr"], to=TensorProto.UINT8),
    ]
    frame = helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, 2, 2, 3])
    sr = helper.make_tensor_value_info("sr", TensorProto.UINT8, [1, 1, 2, 2])
    graph = helper.make_graph(nodes, "g", [frame], [sr], [weight, bias, ten])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "m.onnx")
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) + 1
    products = picture.astype(np.float32) * np.array([1 / 3, 1 / 7, 1 / 9], half).astype(np.float32)
    wanted = (products.sum(2) + np.float32(half(0.1))).astype(half) * half(10)
    assert (upscalers.float16(tmp_path / "m.onnx")(picture)[0] == wanted.astype(np.uint8)).all()


def test_which_files_a_name_stands_for() -> None:
    assert [file.stem for file in upscalers.files(["fast-x2"])] == ["fast-x2", "fast-x2-fp16", "fast-x2-int8"]
    assert [file.stem for file in upscalers.files(["fast-x2-int8", "fast-x2-int8"])] == ["fast-x2-int8"]
    assert len(upscalers.files([])) == len(catalog.shipped())


def test_table_and_json(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--model", "fast-x2", "--json", str(tmp_path / "figures.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == EVALUATION_HEADER and lines[1].split()[:3] == ["Mini", "fast-x2", "fp32"]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert len(figures) == len(lines) - 1
    for one, line in zip(figures, lines[1:], strict=True):
        assert one["gain"] == pytest.approx(one["psnr"] - one["bicubic"])
        assert f"{one['psnr']:.2f}" in line and f"{one['ssim']:.4f}" in line
        assert line.endswith("" if one["loss"] is None else f"{one['loss']:.3f}")


def test_a_truth_may_be_larger_than_the_result(folder: Path) -> None:
    """Of an odd size, say."""
    whole = PictureSet.read(folder / "Mini", 2)
    name, low, high = whole.pairs[0]
    larger = np.asarray(cv2.copyMakeBorder(high, 0, 1, 0, 1, cv2.BORDER_REPLICATE), np.uint8)
    run = upscalers.bicubic(2)
    assert PictureSet("odd", 2, [(name, low, larger)]).score(run) == PictureSet("even", 2, [(name, low, high)]).score(
        run
    )


def test_a_truth_may_not_be_smaller_than_the_result(folder: Path) -> None:
    name, low, high = PictureSet.read(folder / "Mini", 2).pairs[0]
    with pytest.raises(EvaluateError, match=f"{name} in odd is too small") as refused:
        PictureSet("odd", 2, [(name, low, high[:-1])]).score(upscalers.bicubic(2))
    assert refused.value.facts == "48x40 enlarged is 96x80, and it has 96x79"


def test_a_set_may_be_named_itself(folder: Path) -> None:
    assert sets(folder) == sets(folder / "Mini") == [folder / "Mini"]


def test_what_cannot_be_measured(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        assert not captured.out, "something was measured first"
        return captured.err

    assert "There is no folder" in told(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    assert "There is no test set in" in told(tmp_path / "empty")
    assert "There is no model called fats" in told(folder, "--model", "fats")
    assert "not the address of a Triton server" in told(folder, "--engine", "triton")
    (tmp_path / "file").touch()
    for target in (tmp_path / "file/figures.json", tmp_path / "empty"):
        assert f"{target} cannot be written" in told(folder, "--json", target)
    (folder / "Mini/x2/img_001_SRF_2_HR.png").unlink()
    assert "img_001_SRF_2_HR.png is missing" in told(folder)
    with pytest.raises(FileNotFoundError):
        read(folder / "Mini")
