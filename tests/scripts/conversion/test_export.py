"""The file is the trained network, keeps the contract, and nothing else is let through."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest

import engines
from engines.base import Image
from engines.catalog import shipped as catalog
from engines.request import EngineRequest

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """What scripts/train.py would write, of a tiny network none of whose weights are idle."""
    import torch

    from tests.support.tiny_training import recipe

    tiny = recipe()
    network = tiny.network()
    for parameter in network.parameters():
        parameter.data += torch.randn_like(parameter) * 0.05
    path = tmp_path / "checkpoint.pt"
    torch.save({"recipe": asdict(tiny), "step": 20, "average": network.state_dict()}, path)
    return path


def picture(size: tuple[int, int]) -> Image:
    """Noise, with black and white edges and corners, where padding and clipping show."""
    image = np.random.default_rng(size).integers(0, 256, (size[1], size[0], 3), np.uint8)
    image[0], image[:, -1] = 255, 0
    image[-1, : size[0] // 2] = (255, 0, 255)
    return image


def by_engine(model: Path, image: Image) -> tuple[Image, str]:
    with engines.load(EngineRequest("openvino", str(model), (image.shape[1], image.shape[0]), depth=1)) as engine:
        engine.reserve()
        engine.submit(image, None)
        done = engine.collect(60)
        assert done is not None
        return done[0].copy(), engine.spec.precision


def by_torch(model: Path, image: Image) -> Image:
    import torch

    from scripts.common.network import Contract
    from scripts.conversion.exporter import network_from_onnx

    with torch.inference_mode():
        return np.asarray(Contract(network_from_onnx(model))(torch.from_numpy(image[None]))[0].numpy(), np.uint8)


@pytest.mark.parametrize("coring", [0.0, 1.5, 300.0])
def test_a_cored_network_is_the_same_in_the_file_and_comes_back(
    checkpoint: Path, tmp_path: Path, coring: float
) -> None:
    import torch

    from scripts.conversion.exporter import export, network_from_onnx
    from tests.support.tiny_training import recipe

    state = torch.load(checkpoint, weights_only=True)
    torch.save(state | {"recipe": asdict(recipe(coring=coring))}, checkpoint)
    file = tmp_path / "made-x2.onnx"
    export(checkpoint, file)  # compares them itself
    assert network_from_onnx(file).coring == coring
    given = by_torch(file, picture((24, 18))).astype(int)
    if coring == 300:  # more than there is: what is left is the smooth enlargement, which keeps to what it is given
        flat = np.full((9, 11, 3), 77, np.uint8)
        assert (by_torch(file, flat) == 77).all()
        assert given.std() < picture((24, 18)).std()


@pytest.mark.parametrize("size", [(17, 16), (33, 47), (64, 36)])
def test_the_engine_computes_what_pytorch_computes(size: tuple[int, int]) -> None:
    model = catalog.find("fast")
    image = picture(size)
    given, precision = by_engine(model, image)
    error = np.abs(given.astype(int) - by_torch(model, image))
    if precision == "fp32":
        assert error.max() <= 1 and (error == 0).mean() >= 0.999
    else:  # a processor with bf16 or f16 arithmetic, 8 and 11 bits of precision
        assert error.max() <= 8 and error.mean() < 1
    for edge in (error[:2], error[-2:], error[:, :2], error[:, -2:]):
        assert edge.mean() < 1


def test_an_export_is_the_averaged_network_and_can_be_read_back(checkpoint: Path, tmp_path: Path) -> None:
    import torch

    from scripts.conversion.exporter import load, network_from_onnx, parameters
    from scripts.export import main

    file = tmp_path / "tiny-x2.onnx"
    assert main([str(checkpoint), str(file)]) == 0
    trained, _, _ = load(checkpoint)
    again = network_from_onnx(file)
    assert parameters(again) == parameters(trained)
    x = torch.rand(1, 3, 9, 8)
    with torch.no_grad():
        assert torch.allclose(trained(x), again(x), atol=1e-5)
    given, precision = by_engine(file, picture((33, 47)))
    error = np.abs(given.astype(int) - by_torch(file, picture((33, 47))))
    assert error.max() <= (1 if precision == "fp32" else 8)


def test_the_file_keeps_to_what_tensorrt_reads() -> None:
    model = onnx.load(catalog.find("fast"))
    nodes = model.graph.node
    assert nodes[0].op_type == nodes[-1].op_type == "Cast"
    assert nodes[0].input[0] == "frame" and nodes[-1].output[0] == "sr"
    assert {node.op_type for node in nodes[1:-1]} <= {
        "Transpose", "Pad", "Conv", "Relu", "Add", "Round", "Clip", "DepthToSpace", "Cast", "Unsqueeze", "Mul"
    }  # fmt: skip
    assert model.opset_import[0].version <= 17
    properties = {p.key: p.value for p in model.metadata_props}
    assert properties["scale"] == "2" and int(properties["parameters"]) <= 15_000
    written = sum(int(np.prod(c.dims)) for c in model.graph.initializer if c.name.endswith((".weight", ".bias")))
    head = sum(int(np.prod(c.dims)) for c in model.graph.initializer if c.name.startswith("head."))
    assert int(properties["parameters"]) == written - head * 2 // 3  # the file holds the head once for each colour


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04" + bytes(60)])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    from scripts.export import main

    file = tmp_path / "some.pt"
    file.write_bytes(content)
    assert main([str(file), str(tmp_path / "new.onnx")]) == 2
    assert "is not a checkpoint of scripts/train.py" in capsys.readouterr().err
    assert not (tmp_path / "new.onnx").exists()


def test_a_missing_or_foreign_checkpoint_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from scripts.export import main

    for name, content in (("list.pt", [1, 2]), ("other.pt", {"model": torch.zeros(3)}), ("deep.pt", {"recipe": 3})):
        torch.save(content, tmp_path / name)
        assert main([str(tmp_path / name), str(tmp_path / "new.onnx")]) == 2
        assert "is not a checkpoint" in capsys.readouterr().err
    assert main([str(tmp_path / "missing.pt"), str(tmp_path / "new.onnx")]) == 2
    assert "missing.pt" in capsys.readouterr().err


def test_an_export_that_differs_is_not_written(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from scripts.conversion import exporter
    from scripts.export import main

    right = exporter.build

    def wrong(*arguments: object) -> onnx.ModelProto:
        model = right(*arguments)  # type: ignore[arg-type]
        weight = next(c for c in model.graph.initializer if c.name == "base.weight")
        weight.CopyFrom(
            onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(1.02), weight.name)
        )
        return model

    monkeypatch.setattr(exporter, "build", wrong)
    assert main([str(checkpoint), str(tmp_path / "wrong-x2.onnx")]) == 2
    assert "is not the trained network" in capsys.readouterr().err
    assert not list(tmp_path.glob("wrong*"))


def test_an_unwritable_target_is_told(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from scripts.export import main

    for target in (tmp_path / "no" / "folder" / "x-x2.onnx", tmp_path, Path()):
        assert main([str(checkpoint), str(target)]) == 2
        assert "cannot be written" in capsys.readouterr().err


def test_a_name_that_tells_another_scale_is_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from scripts.export import main

    assert main([str(checkpoint), str(tmp_path / "tiny-x4.onnx")]) == 2
    assert "Call it tiny-x2.onnx." in capsys.readouterr().err
    assert not (tmp_path / "tiny-x4.onnx").exists()


def test_a_foreign_model_has_no_network_to_rebuild(tmp_path: Path) -> None:
    from scripts.conversion.exporter import ExportError, network_from_onnx

    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ExportError, match="does not hold a network"):
        network_from_onnx(tmp_path / "text.onnx")
    with pytest.raises(ExportError, match="cannot be read"):
        network_from_onnx(tmp_path / "missing.onnx")
