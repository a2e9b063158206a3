"""Put a third-party network under the contract: its graph is extended by what converts bytes, order, range and sizes.

scripts/conversion/third_party.py reads and runs it, scripts/conversion/colour_probe.py finds its colour format;
nothing here needs PyTorch.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, version_converter

from engines.catalog import shipped as catalog
from engines.errors import one_line
from engines.openvino import engine as openvino_engine
from scripts.common.onnx_files import save
from scripts.common.onnx_graph import EXPORT_OPSET, OnnxGraph
from scripts.common.test_sets import LUMA_OF_BGR
from scripts.conversion.colour_probe import (
    PROBE_SIZE,
    SAME_PICTURE_DB,
    ColourFormat,
    add_colours,
    describe,
    find_format,
    probe_pair,
    psnr,
    run_in_python,
    to_bytes,
)
from scripts.conversion.third_party import FLOAT32_OPTIONS, FLOAT_TYPES, Floats, Geometry, ThirdPartyNetwork, WrapError

KEPT_OPSETS = range(13, 21)
"""What is left as it is: from where our own nodes are defined, to what TensorRT reads from 10.0 on (onnx-tensorrt,
docs/operators.md)."""
EXPORT_AGAIN = f"Export it again, in opset {KEPT_OPSETS.start} to {KEPT_OPSETS.stop - 1}."
MAX_MULTIPLE = 256
"""Of what sizes may be asked to be multiples; padding up to more would be most of a picture."""
NETWORK_PREFIX = "network/"
"""Before every name of the network, so that none is one of ours."""


def opset_of(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators; 0 if the model does not name one."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def prepare(original: ThirdPartyNetwork) -> onnx.ModelProto:
    """Return its model with prefixed names, in an opset that TensorRT reads and our nodes are defined in."""
    model = onnx.ModelProto()
    model.CopyFrom(original.model)
    opset = opset_of(model)
    if opset not in KEPT_OPSETS:
        try:
            model = version_converter.convert_version(model, EXPORT_OPSET)
        except Exception as error:  # whatever a converter of onnx meets
            if opset < KEPT_OPSETS.start:  # a newer one goes as it is: OpenVINO reads it, a newer TensorRT may
                raise WrapError(
                    f"{original.path} cannot be converted from opset {opset} to {EXPORT_OPSET}",
                    one_line(error),
                    EXPORT_AGAIN,
                ) from None
    del model.graph.value_info[:]  # of shapes under other names than ours
    result: onnx.ModelProto = compose.add_prefix(model, NETWORK_PREFIX)
    return result


class Wrapper:
    """The graph around a network: its colour format and geometry before and after."""

    def __init__(self, original: ThirdPartyNetwork, colours: ColourFormat, geometry: Geometry) -> None:
        self._original, self._colours, self._geometry = original, colours, geometry
        self._graph = OnnxGraph()
        self._type = FLOAT_TYPES[original.kind]

    def model(self) -> onnx.ModelProto:
        """Return the model of the contract. Raises WrapError."""
        inner = prepare(self._original)
        planes = self._before(NETWORK_PREFIX + self._original.input)
        self._graph.nodes.extend(inner.graph.node)
        self._graph.constants.extend(inner.graph.initializer)
        self._after(NETWORK_PREFIX + self._original.output, planes)
        height, width, scale = self._original.height or "H", self._original.width or "W", self._geometry.scale
        frame = helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, height, width, 3])
        large = [n * scale if isinstance(n, int) else f"{scale}*{n}" for n in (height, width)]
        sr = helper.make_tensor_value_info("sr", TensorProto.UINT8, [1, *large, 3])
        graph = helper.make_graph(self._graph.nodes, "wrapped", [frame], [sr], self._graph.constants)
        graph.sparse_initializer.extend(inner.graph.sparse_initializer)
        model = helper.make_model(
            graph,
            opset_imports=inner.opset_import,
            ir_version=max(8, helper.find_min_ir_version_for(inner.opset_import, ignore_unknown=True)),
            producer_name="scripts/export.py --wrap",
        )
        model.doc_string = f"Enlarges a picture {scale} times. BGR bytes in, BGR bytes out."
        helper.set_model_props(model, {p.key: p.value for p in inner.metadata_props} | self._metadata())
        return model

    def _metadata(self) -> dict[str, str]:
        path, colours, geometry = self._original.path, self._colours, self._geometry
        return {
            "scale": str(geometry.scale),
            "wrapped": path.name,
            "wrapped_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "order": colours.order,
            "range": str(colours.white),
            "multiple": str(geometry.multiple),
        }

    def _number(self, name: str, value: float | NDArray[np.float32]) -> str:
        return self._graph.constant(name, np.asarray(value, self._type))

    def _whole(self, name: str, *values: int) -> str:
        return self._graph.constant(name, np.array(values, np.int64))

    def _before(self, name: str) -> str:
        """From `frame` to the input of the network, called `name`; returns the planes of grey levels, BGR."""
        graph, colours = self._graph, self._colours
        # Cast first and last: TensorRT knows uint8 at the borders of a network only.
        graph.add("Cast", "levels", "frame", to=self._original.kind)
        planes = values = graph.add("Transpose", "planes", "levels", perm=[0, 3, 1, 2])
        if self._geometry.pads:
            values = self._padded(values)
        if colours.order == "luma":
            values = graph.add("Conv", "luma", values, self._number("luma.weight", LUMA_OF_BGR[None, :, None, None]))
        if colours.order == "rgb":
            values = self._swapped("rgb", values)
        if colours.white != 255:
            values = graph.add("Mul", "values", values, self._number("values.by", colours.white / 255))
        if self._original.last:
            graph.add("Transpose", "picture", values, perm=[0, 2, 3, 1])
        graph.nodes[-1].output[:] = [name]  # nothing else has read it: planes are read twice before a Conv only
        return planes

    def _swapped(self, name: str, planes: str) -> str:
        """`planes` the other way round, by a convolution.

        Engines do that together with what is around it: 640x360 x2 in OpenVINO took 86 ms so and 108 with Gather,
        beside 87 of a network of BGR (two busy cores of an AMD EPYC).
        """
        weight = self._number(f"{name}.weight", np.eye(3, dtype=np.float32)[::-1, :, None, None])
        return self._graph.add("Conv", name, planes, weight)

    def _padded(self, planes: str) -> str:
        """`planes` with the border and up to the multiple, by repeating the edges."""
        graph, b, m = self._graph, self._geometry.border, self._geometry.multiple
        graph.add("Gather", "size", graph.add("Shape", "shape", planes), self._whole("axes", 2, 3))
        more = graph.add("Add", "size_more", "size", self._whole("size_more.by", 2 * b + m - 1))
        steps = graph.add("Div", "size_steps", more, self._whole("step", m))
        full = graph.add("Mul", "size_full", steps, "step")
        missing = graph.add("Sub", "size_missing", full, "size")
        ends = graph.add("Sub", "ends", missing, self._whole("border", b))
        pads = graph.add("Concat", "pads", self._whole("begins", 0, 0, b, b, 0, 0), ends, axis=0)
        return graph.add("Pad", "padded", planes, pads, mode="edge")

    def _after(self, name: str, planes: str) -> None:
        """From the output of the network, called `name`, to `sr`."""
        graph, colours, s, o = self._graph, self._colours, self._geometry.scale, self._geometry.offset
        large = name
        if self._original.last:
            large = graph.add("Transpose", "large_planes", large, perm=[0, 3, 1, 2])
        if self._geometry.pads:
            size = graph.add("Mul", "large_size", "size", self._whole("scale", s))
            end = graph.add("Add", "large_end", size, self._whole("offset", o))
            begin = self._whole("large_begin", o, o)
            large = graph.add("Slice", "cropped", large, begin, end, self._whole("large_axes", 2, 3))
        if colours.white != 255:
            large = graph.add("Mul", "large_levels", large, self._number("large_levels.by", 255 / colours.white))
        if colours.order == "rgb":
            large = self._swapped("bgr", large)
        if colours.order == "luma":
            large = graph.add("Add", "coloured", large, self._chroma(planes))
        limits = [self._number("black", 0), self._number("white", 255)]
        limited = graph.add("Clip", "limited", graph.add("Round", "rounded", large), *limits)
        graph.add("Cast", "sr", graph.add("Transpose", "pixels", limited, perm=[0, 2, 3, 1]), to=TensorProto.UINT8)

    def _chroma(self, planes: str) -> str:
        """What is left of the planes without luma, enlarged by bicubic interpolation as OpenCV does it."""
        graph, s = self._graph, self._geometry.scale
        grey = graph.add("Conv", "grey", planes, "luma.weight")
        chroma = graph.add("Sub", "chroma", planes, grey)
        scales = graph.constant("scales", np.array([1, 1, s, s], np.float32))
        return graph.add(
            "Resize", "large_chroma", chroma, "", scales, mode="cubic", cubic_coeff_a=-0.75,
            coordinate_transformation_mode="half_pixel",
        )  # fmt: skip


def raise_if_off_centre(original: ThirdPartyNetwork, geometry: Geometry, colours: ColourFormat) -> None:
    """Raise WrapError if more is lost on one side of a picture than on the other, as the result would be shifted.

    What is made of the mirrored picture, mirrored back, then lies elsewhere than what is made of the picture.
    """
    step = geometry.multiple
    picture = probe_pair(original.size(*(-(-n // step) * step for n in PROBE_SIZE)), 1)[0]
    result = original.run(colours.planes(picture))
    for axis in (1, 2):
        again = np.flip(original.run(colours.planes(np.flip(picture, axis - 1))), axis)
        reach = min(geometry.lost, result.shape[axis] // 2)
        errors = {
            n: shifted_difference(result.swapaxes(axis, 2), again.swapaxes(axis, 2), n)
            for n in range(-reach, reach + 1)
        }
        best = min(errors, key=lambda n: (errors[n], abs(n)))
        # One more on one side is what an odd number comes to; and no network is quite the same for mirrored pictures.
        if abs(best) > 1 and errors[0] > 2 * errors[best]:
            raise WrapError(
                f"{original.path} loses more of a picture on one side than on the other",
                f"it loses {geometry.lost} pixels of the enlarged one, {abs(best)} more on one side",
                "Export it with convolutions that pad, or add a layer that crops as much from the other side.",
            )


def shifted_difference(first: Floats, second: Floats, by: int) -> float:
    """Return the mean squared difference of two pictures of one size, the first moved `by` pixels to the left."""
    width = first.shape[-1] - abs(by)
    left, right = first[..., max(by, 0) :][..., :width], second[..., max(-by, 0) :][..., :width]
    return float(np.mean((left - right) ** 2))


def agreement_db(
    original: ThirdPartyNetwork, colours: ColourFormat, geometry: Geometry, model: onnx.ModelProto
) -> float:
    """Return the least PSNR in dB of the model against the original in Python, over several pictures.

    Raises WrapError below SAME_PICTURE_DB.
    """
    core, step = openvino_engine.core(), geometry.multiple
    noise = np.random.default_rng(0)
    worst = float("inf")
    # A size of its own liking, and one that needs all the padding there can be; the same if it has but one.
    sizes = [original.size(n, n) for n in (-(-64 // step) * step, -(-32 // step) * step + 1)]
    for size in dict.fromkeys(sizes):
        network = core.read_model(model.SerializeToString())
        openvino_engine.fit(network, original.path, (size[1], size[0]))
        compiled = core.compile_model(network, "CPU", FLOAT32_OPTIONS)
        for picture in (probe_pair(size, 1)[0], noise.integers(0, 256, (*size, 3), np.uint8)):
            wanted = run_in_python(original, geometry, colours, picture)
            wanted = add_colours(wanted, picture) if colours.order == "luma" else wanted
            worst = min(worst, psnr(np.asarray(compiled(picture[None])[0])[0], to_bytes(wanted)))
    if worst < SAME_PICTURE_DB:
        before, after = opset_of(original.model), opset_of(model)
        multiple = "If its sizes must be multiples of a number, give it as --multiple."
        converted = f"Converting it from opset {before} to {after} may have changed it. {EXPORT_AGAIN}"
        raise WrapError(
            f"{original.path} cannot be wrapped: the result is not the original",
            f"their pictures agree to {worst:.1f} dB, but at least {SAME_PICTURE_DB:.0f} are required",
            multiple if before == after else converted,
        )
    return worst


def wrap(
    source: Path,
    target: Path,
    *,
    order: str | None = None,
    white: int | None = None,
    multiple: int | None = None,
    scale: int | None = None,
) -> str:
    """Write `target`, the network of `source` under the contract; return a line about it.

    What is None is detected. Raises WrapError, ModelError, having written nothing.
    """
    original = ThirdPartyNetwork(source)
    if target.exists() and target.samefile(source):
        raise WrapError("The network to wrap would be overwritten", fix="Give another name for the result.")
    geometry = original.survey(multiple)
    if scale not in (None, geometry.scale):
        raise WrapError(f"{source} enlarges {geometry.scale} times, not {scale}", fix="Leave --scale out.")
    catalog.check_name(target, geometry.scale)
    colours = find_format(original, geometry, order, white)
    if geometry.lost:
        raise_if_off_centre(original, geometry, colours)
    model = Wrapper(original, colours, geometry).model()
    worst = agreement_db(original, colours, geometry, model)
    try:
        onnx.checker.check_model(model)
        save(model, target)
    except onnx.checker.ValidationError as error:
        raise WrapError(f"{source} cannot be wrapped", one_line(error), "Export it again.") from None
    except OSError as error:
        raise WrapError(f"{target} cannot be written", error.strerror or str(error), "Give another path.") from None
    size = "any size" if not original.fixed else f"{original.width or 'any'}x{original.height or 'any'} only"
    padded = f" (padded to multiples of {geometry.multiple})" if geometry.multiple > 1 else ""
    unused = f"\n--order {order} was ignored: the network takes luma only" if order and colours.order == "luma" else ""
    alike = "equal to" if worst == float("inf") else f"at least {worst:.1f} dB to"
    return (
        f"{target}: x{geometry.scale}, {describe(colours)}, {size}{padded}, {alike} {source}\n"
        f"python -m app.run --model {target} runs it{unused}"
    )
