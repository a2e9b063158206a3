"""Writing the project's networks as ONNX files under the contract, and reading them back."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from engines.catalog import shipped as catalog
from engines.catalog.terms import NOT_STATED, TERMS_KEY
from engines.errors import UserError
from scripts.common.onnx_files import inputs_for, save
from scripts.common.onnx_graph import EXPORT_OPSET, OnnxGraph
from scripts.conversion.strength import DETAIL_SUM, scale_detail, strength_port

with contextlib.suppress(ModuleNotFoundError):  # --wrap needs none of it; main() says who does
    import torch
    from torch import Tensor, nn

    from scripts.common.network import Contract, UpscalingNetwork, smoothing


COLOUR_CHANNELS = 3


MAX_LEVEL_DIFFERENCE, MIN_EQUAL_SHARE = (
    1,
    0.999,
)  # an export may differ by this many grey levels, and in all but this share of values not at all


class ExportError(UserError):
    """What was given cannot be exported."""


def build(network: UpscalingNetwork, metadata: dict[str, str]) -> onnx.ModelProto:
    """Return the ONNX model of a collapsed network.

    It maps frame uint8 [1, H, W, 3] BGR and strength float32 [1] to sr uint8 [1, s*H, s*W, 3] BGR. Grey levels stay
    0..255 throughout: the network's 0..1 is folded into the weights at both ends.
    """
    graph, scale = OnnxGraph(), network.scale
    convs = [layer for layer in network.body if isinstance(layer, nn.Conv2d)]
    assert isinstance(network.head, nn.Conv2d)

    # Cast first and last: TensorRT knows uint8 at the borders of a network only.
    levels = graph.add("Cast", "levels", "frame", to=TensorProto.FLOAT)
    planes = graph.add("Transpose", "planes", levels, perm=[0, 3, 1, 2])
    edges = graph.constant("edges", np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    padded = graph.add("Pad", "padded", planes, edges, mode="edge")

    features = padded
    for index, conv in enumerate(convs):
        first = index == 0
        features = graph.conv(f"body_{index}", features, conv, weight=1 / 255 if first else 1, pad=0 if first else 1)
        features = graph.add("Relu", f"body_{index}_relu", features)
    base = graph.conv("base", padded, base_of(network), bias=255, pad=0)
    # The same detail three times, one for each colour, costs less out of the convolution (whose channels engines fill
    # up to 16 anyway) than copied afterwards: OpenVINO, 640x360, two cores of an AMD EPYC: 19.0 ms against 19.7.
    detail = graph.conv("head", features, network.head, weight=255, bias=255, copies=COLOUR_CHANNELS)

    # Adding and rounding the scale**2 sub-pixels of each colour as channels, before they are put in their places,
    # lets an engine do it on the way out of the convolution. OpenVINO does it on that of the first one and hands it the
    # other in 16 bits where the processor has those: half as many bytes to carry, and the picture itself stays exact.
    sharp = graph.add("Add", DETAIL_SUM, base, scale_detail(graph, detail))
    if network.coring:
        sharp = add_coring(graph, sharp, padded, network)
    limits = [graph.constant("black", np.float32(0)), graph.constant("white", np.float32(255))]
    whole = graph.add("Clip", "limited", graph.add("Round", "rounded", sharp), *limits)
    large = graph.add("DepthToSpace", "large", whole, blocksize=scale, mode="CRD")
    graph.add("Cast", "sr", graph.add("Transpose", "pixels", large, perm=[0, 2, 3, 1]), to=TensorProto.UINT8)

    frame = helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, "H", "W", 3])
    sr = helper.make_tensor_value_info("sr", TensorProto.UINT8, [1, f"{scale}*H", f"{scale}*W", 3])
    whole_graph = helper.make_graph(graph.nodes, "upscaler", [frame, strength_port()], [sr], graph.constants)
    model = helper.make_model(
        whole_graph,
        opset_imports=[helper.make_opsetid("", EXPORT_OPSET)],
        ir_version=8,
        producer_name="scripts/export.py",
    )
    model.doc_string = f"Enlarges a picture {scale} times. BGR bytes in, BGR bytes out."
    helper.set_model_props(model, metadata | {"scale": str(scale), "parameters": str(parameters(network))})
    onnx.checker.check_model(model, full_check=True)
    return model


def base_of(network: UpscalingNetwork) -> nn.Conv2d:
    """Return the network's `base`; with coring, its difference from the smooth enlargement."""
    base = copy.deepcopy(network.base)
    if network.coring:
        base.weight.data -= smoothing(network.scale)
    return base


def add_coring(graph: OnnxGraph, sharp: str, padded: str, network: UpscalingNetwork) -> str:
    """Add the smooth enlargement, and of its difference from `sharp` what is not faint; return its name."""
    kernel = graph.constant("smooth.weight", smoothing(network.scale).numpy())
    smooth = graph.add("Conv", "smooth", padded, kernel, kernel_shape=[3, 3], pads=[0] * 4)
    limits = [graph.constant(f"faint.{side}", np.float32(sign * network.coring)) for side, sign in FAINT_BOUNDS]
    distinct = graph.add("Sub", "distinct", sharp, graph.add("Clip", "faint", sharp, *limits))
    return graph.add("Add", "calm", smooth, distinct)


def parameters(network: nn.Module) -> int:
    """Return the number of weights and biases."""
    return sum(p.numel() for p in network.parameters())


def network_from_onnx(path: Path) -> UpscalingNetwork:
    """Return the plain PyTorch network of a file that build() made.

    Feed it through scripts.common.network.Contract. Raises ExportError if the file is not of that form.
    """
    try:
        model = onnx.load(path)
        values = {c.name: torch.from_numpy(numpy_helper.to_array(c).copy()) for c in model.graph.initializer}
        scale = int(next(p.value for p in model.metadata_props if p.key == "scale"))
        last = max(int(found[1]) for name in values if (found := re.fullmatch(r"body_(\d+)\.weight", name)))
        channels = len(values["body_0.bias"])
        network = UpscalingNetwork(scale=scale, channels=channels, depth=last, expand=1).collapsed()
        state = {
            f"body.{2 * i}.{part}": values[f"body_{i}.{part}"]
            for i in range(last + 1)
            for part in CONVOLUTION_PARAMETERS
        }
        state |= {
            f"{layer}.{part}": values[f"{layer}.{part}"]
            for layer in ("base", "head")
            for part in CONVOLUTION_PARAMETERS
        }
        state["body.0.weight"] *= 255  # what build() folded in comes out again
        for name in ("base.bias", "head.weight", "head.bias"):
            state[name] /= 255
        for name in ("head.weight", "head.bias"):
            state[name] = state[name][: scale**2]  # the first of the copies
        if "smooth.weight" in values:
            network.coring = float(values["faint.most"])
            state["base.weight"] += values["smooth.weight"]
        network.load_state_dict(state)
    except OSError as error:
        raise ExportError(f"{path} cannot be read", error.strerror or str(error)) from None
    except Exception as error:  # a foreign file can fail in any way, in onnx as in the look-ups above
        raise ExportError(
            f"{path} does not hold a network of scripts/common/network.py",
            f"{type(error).__name__}: {error}",
            "Use one of --list.",
        ) from None
    return network.eval()


CONVOLUTION_PARAMETERS = ("weight", "bias")


FAINT_BOUNDS = (("least", -1), ("most", 1))


def load(path: Path) -> tuple[UpscalingNetwork, dict[str, Any], str]:
    """Return the collapsed network of a checkpoint of scripts/train.py, its recipe and its terms, which may be empty.

    Raises ExportError.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        recipe = dict(state["recipe"], step=state["step"])
        shape = {key: int(recipe[key]) for key in ("scale", "channels", "depth", "expand")}
        network = UpscalingNetwork(**shape)
        network.load_state_dict(state["average"])
        network.coring = float(recipe.get("coring", 0))
        terms = str(state.get(TERMS_KEY, NOT_STATED))  # older ones do not know
    except (OSError, EOFError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
        raise ExportError(
            f"{path} is not a checkpoint of scripts/train.py",
            f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else 'it is empty'}",
            "Give the checkpoint.pt that it wrote into its --out folder.",
        ) from None
    return network.collapsed().eval(), recipe, terms


def difference(model: onnx.ModelProto, network: nn.Module) -> tuple[int, float]:
    """Return the largest difference in grey levels between model and network, and the share of values that are equal.

    The pictures are noise and flat blocks of odd size, so that edges and saturation occur. The reference evaluator
    computes in fp32 whatever processor it runs on.
    """
    random, largest, equal = np.random.default_rng(0), 0, []
    contract, runner = Contract(network).eval(), ReferenceEvaluator(model)
    noise = random.integers(0, 256, (1, 47, 33, 3), np.uint8)
    for picture in (noise, noise[:, ::8, ::8].repeat(8, 1).repeat(8, 2), noise // 8 + 112):
        with torch.inference_mode():
            wanted: Tensor = contract(torch.from_numpy(picture))
        given = np.array(runner.run(None, inputs_for(model, picture)))[0]
        error = np.abs(given.astype(int) - wanted.numpy().astype(int))
        largest = max(largest, int(error.max()))
        equal.append(float((error == 0).mean()))
    return largest, min(equal)


def export(checkpoint: Path, file: Path) -> str:
    """Write `file`; return a line about it. Raises ExportError, ModelError, having written nothing."""
    if importlib.util.find_spec("torch") is None:
        raise ExportError("PyTorch is not installed", "a checkpoint holds its tensors", "pip install -e .[train]")
    network, recipe, terms = load(checkpoint)
    catalog.check_name(file, network.scale)
    metadata = {"recipe": json.dumps(recipe), "trained_by": "scripts/train.py"}
    model = build(network, metadata | ({TERMS_KEY: terms} if terms else {}))
    largest, equal = difference(model, network)
    if largest > MAX_LEVEL_DIFFERENCE or equal < MIN_EQUAL_SHARE:
        raise ExportError(
            f"{file} is not written: the exported model is not the trained network",
            f"up to {largest} grey levels apart, {equal:.2%} of values equal",
        )
    try:
        save(model, file)
    except OSError as error:
        raise ExportError(f"{file} cannot be written", error.strerror or str(error), "Give another path.") from None
    return (
        f"{file}: {parameters(network):,} parameters, x{network.scale}, {file.stat().st_size / 1024:.0f} KiB, "
        f"{equal:.3%} of values equal to PyTorch's, the rest within {largest}"
    )
