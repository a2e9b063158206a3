"""The float16 file of the default network: its types, its arithmetic, and what cannot be typed so."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from engines.catalog import shipped as catalog
from engines.errors import ModelError
from scripts.common.onnx_files import inputs_for
from scripts.conversion.wrapper import wrap
from scripts.halve import HalveError, convert_to_float16, main
from tests.support.onnx_models import network


@pytest.mark.parametrize("name", sorted({model.names[1] for model in catalog.shipped()}))
def test_a_shipped_file_is_what_the_script_makes(name: str, tmp_path: Path) -> None:
    made = convert_to_float16(catalog.find(f"{name}-fp32"), tmp_path / "made.onnx")
    assert made.read_bytes() == catalog.find(f"{name}-fp16").read_bytes()
    types = {constant.data_type for constant in onnx.load(made).graph.initializer}
    assert types == {TensorProto.FLOAT16, TensorProto.INT64}  # int64: how far the edges are repeated


def test_float16_arithmetic_keeps_the_picture() -> None:
    """With every intermediate value rounded to float16, as the reference evaluator does: above 50 dB against fp32."""
    frame = np.random.default_rng(0).integers(0, 256, (1, 6, 8, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    files = (catalog.find(f"fast-x2-{precision}") for precision in ("fp16", "fp32"))
    models = [onnx.load(path) for path in files]
    half, full = (np.array(ReferenceEvaluator(model).run(None, inputs_for(model, frame))) for model in models)
    error = float(((half.astype(float) - full.astype(float)) ** 2).mean())
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > 50


@pytest.mark.integration
def test_what_cannot_be_halved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.onnx").write_text("no model")
    assert main([str(tmp_path / "text.onnx"), str(tmp_path / "a-x2.onnx")]) == 2
    assert "is not an ONNX model" in capsys.readouterr().err
    with pytest.raises(HalveError, match="no cast to float32"):
        convert_to_float16(catalog.find("fast-x2-fp16"), tmp_path / "a-x2.onnx")
    large = onnx.load(catalog.find("fast-x2-fp32"))
    large.graph.initializer.append(numpy_helper.from_array(np.array([1e6], np.float32), "large"))
    onnx.save(large, tmp_path / "large.onnx")
    with pytest.raises(HalveError, match="does not fit"):
        convert_to_float16(tmp_path / "large.onnx", tmp_path / "a-x2.onnx")
    with pytest.raises(HalveError, match="cannot be written"):
        convert_to_float16(catalog.find("fast-x2-fp32"), tmp_path / "none" / "a-x2.onnx")
    shutil.copy(catalog.find("fast-x2-fp32"), tmp_path / "mine-x2.onnx")
    before = (tmp_path / "mine-x2.onnx").read_bytes()
    with pytest.raises(ModelError, match="is the fp32 model itself"):
        convert_to_float16(tmp_path / "mine-x2.onnx", tmp_path / "mine-x2.onnx")
    assert (tmp_path / "mine-x2.onnx").read_bytes() == before
    assert main([str(tmp_path / "mine-x2.onnx"), str(tmp_path / "mine-x3-fp16.onnx")]) == 2
    assert "is a wrong name for a network that enlarges 2 times" in capsys.readouterr().err
    wrap(network(tmp_path / "theirs.onnx"), tmp_path / "wrapped-x2.onnx", order="rgb")
    with pytest.raises(
        HalveError, match="cannot be converted to float16"
    ):  # the numbers of its Resize must stay float32
        convert_to_float16(tmp_path / "wrapped-x2.onnx", tmp_path / "a-x2.onnx")
    assert not (tmp_path / "a.onnx").exists()
