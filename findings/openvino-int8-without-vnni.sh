#!/usr/bin/env bash
# Finding: on x86 processors without VNNI, OpenVINO computes a valid int8 ONNX file wrongly and does not warn.
#
# Expectation: the result of an int8 convolution (QuantizeLinear, DequantizeLinear, Conv; zero point 0) does not depend
#   on the instruction set. It is a sum of whole numbers that fits into int32.
# Seen with: OpenVINO 2026.4.1, onnx 1.20.1, Linux on x86-64 with VNNI, limited by ONEDNN_MAX_CPU_ISA.
# Behaviour: 127 * 127 * 144 = 2,322,576 with VNNI, and 18,360 without. oneDNN shifts a signed activation to 0..255
#   and adds pairs of products in 16 bits, where 255 * 127 * 2 = 64,770 becomes 32,767; the shift is then taken off
#   again. Weights of 64 and less are right everywhere, and 65 is already wrong. oneDNN's documentation describes this
#   ("Nuances of int8 Computations") and leaves it to the caller to keep weights small; OpenVINO runs the file as it is.
# What it means here: whether the processor adds exactly has to be tried before an int8 network is trusted to it.
#
# Exit status: 0, behaves as described; 1, it no longer does (the output says how); 2, could not be tried.
set -euo pipefail
[ "$(uname -m)" = x86_64 ] || { echo "This is about x86-64." >&2; exit 2; }
grep -qE 'avx512_vnni|avx_vnni' /proc/cpuinfo || { echo "This processor has no VNNI to compare with." >&2; exit 2; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv" || exit 2
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 onnx==1.20.1 numpy==2.2.6 2>/dev/null ||
    { echo "Could not install openvino 2026.4.1 and onnx 1.20.1." >&2; exit 2; }

cat >"$folder/int8.py" <<'PYTHON'
import numpy as np
import onnx
import openvino as ov
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 16


def network(weight: int) -> bytes:
    """x -> int8 -> 3x3 convolution of 16 channels, every weight the same."""
    initializers = {
        "scale": np.float32(1),
        "zero": np.int8(0),
        "weights": np.full((CHANNELS, CHANNELS, 3, 3), weight, np.int8),
        "scales": np.ones(CHANNELS, np.float32),
        "zeros": np.zeros(CHANNELS, np.int8),
    }
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["activations"]),
            helper.make_node("DequantizeLinear", ["weights", "scales", "zeros"], ["kernel"], axis=0),
            helper.make_node("Conv", ["activations", "kernel"], ["y"]),
        ],
        "int8",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CHANNELS, 6, 6])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in initializers.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


core = ov.Core()
for weight in (64, 65, 127):
    compiled = core.compile_model(core.read_model(network(weight)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    y = compiled([np.full((1, CHANNELS, 8, 8), 127, np.float32)])[0]
    print(weight, int(y[0, 0, 3, 3]), 127 * weight * CHANNELS * 9)
PYTHON

as_described=yes
for isa in AVX512_CORE_AMX AVX512_CORE AVX2; do
    results=$(ONEDNN_MAX_CPU_ISA=$isa "$folder/venv/bin/python" "$folder/int8.py")
    echo "ONEDNN_MAX_CPU_ISA=$isa"
    while read -r weight sum exact; do
        echo "  weight $weight: $sum, exact $exact"
    done <<<"$results"
    case $isa in
    AVX512_CORE_AMX) expected=$'64 1170432 1170432\n65 1188720 1188720\n127 2322576 2322576' ;;
    *) expected=$'64 1170432 1170432\n65 1161144 1188720\n127 18360 2322576' ;;
    esac
    [ "$results" = "$expected" ] || as_described=
done
if [ "$as_described" ]; then
    echo "As described: without VNNI, weights above 64 give wrong sums."
else
    echo "Not as described: expected exact sums in the first block and 1161144 and 18360 in the others." >&2
    exit 1
fi
