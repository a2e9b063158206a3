"""Files get the input `strength` without a change of their weights, and what is exported has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from engines.catalog import shipped as catalog
from scripts.conversion.strength import add_strength
from scripts.export import main
from tests.support.networks import without_strength
from tests.support.onnx_models import resizing

SHIPPED = catalog.shipped()


@pytest.mark.parametrize("model", SHIPPED, ids=[model.path.stem for model in SHIPPED])
def test_a_shipped_file_is_what_an_old_one_becomes(model: catalog.ShippedModel) -> None:
    new = onnx.load(model.path)
    again = add_strength(without_strength(new))
    assert again == new
    kinds = {constant.data_type for constant in without_strength(new).graph.initializer} - {TensorProto.INT64}
    (cast,) = (node for node in new.graph.node if list(node.input) == ["strength"])
    half = model.precision == "fp16"
    assert cast.attribute[0].i == (TensorProto.FLOAT16 if half else TensorProto.FLOAT) and cast.attribute[0].i in kinds
    # In floats: what is added is no integer any more, whatever the convolution before it computes in.
    (product,) = (node for node in new.graph.node if node.name == "scaled_detail")
    assert product.input[0] == "head" and {node.op_type for node in new.graph.node if "head" in node.input} == {"Mul"}


@pytest.mark.integration
def test_the_command_puts_it_into_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = catalog.find("fast-webcam-x2-int8")
    old, new = tmp_path / "old-x2-int8.onnx", tmp_path / "new-x2-int8.onnx"
    onnx.save(without_strength(onnx.load(path)), old)
    assert main(["--strength", str(old), str(new)]) == 0 and "46 constants are as they were" in capsys.readouterr().out
    assert new.read_bytes() == path.read_bytes()
    assert main(["--strength", str(old), str(old)]) == 0 and old.read_bytes() == path.read_bytes()


@pytest.mark.integration
def test_what_cannot_get_it_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "new-x2.onnx"
    for source, told in (
        (catalog.find("fast-x2-fp32"), "has the input `strength` already"),
        (Path(resizing(tmp_path / "theirs-x2.onnx", 2)), "no detail of its own"),
        (tmp_path / "missing.onnx", "cannot be read"),
    ):
        assert main(["--strength", str(source), str(target)]) == 2
        assert told in capsys.readouterr().err and not target.exists()
    with pytest.raises(SystemExit):
        main(["--strength", "--wrap", str(source), str(target)])


@pytest.mark.torch
def test_an_exported_network_has_it() -> None:
    import torch
    from onnx.reference import ReferenceEvaluator

    from scripts.common.network import Contract, UpscalingNetwork
    from scripts.common.onnx_files import inputs_for
    from scripts.conversion.exporter import build

    torch.manual_seed(0)
    network = UpscalingNetwork(scale=2, channels=4, depth=1, expand=8).collapsed().eval()
    network.coring = 1.0
    frame = np.random.default_rng(0).integers(0, 256, (1, 9, 11, 3), np.uint8)
    model = build(network, {})
    for strength in (0.0, 0.3, 1.0, 2.0):
        given = np.array(ReferenceEvaluator(model).run(None, inputs_for(model, frame, strength)))[0]
        with torch.no_grad():
            assert isinstance(network.head, torch.nn.Conv2d) and network.head.bias is not None
            weight, bias = network.head.weight.clone(), network.head.bias.clone()
            network.head.weight *= strength
            network.head.bias *= strength
            wanted = Contract(network)(torch.from_numpy(frame)).numpy()
            network.head.weight.copy_(weight)
            network.head.bias.copy_(bias)
        assert np.abs(given.astype(int) - wanted).max() <= 1 and (given == wanted).mean() > 0.95  # ties
