"""The model of Triton's Python backend checks its rewritten graph against the file, too. Triton itself is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engines.catalog import shipped as catalog
from engines.openvino import engine as openvino
from engines.openvino import self_check
from scripts.triton_repository import main
from tests.support.networks import picture_of

NAME, SIZE = "fast-x3-int8", (40, 24)
BACKEND = """
class Logger:
    log_warn = staticmethod(print)
class Tensor:
    def __init__(self, name, values):
        self.name, self.values = name, values
    def as_numpy(self):
        return self.values
class InferenceResponse:
    def __init__(self, tensors):
        self.tensors = tensors
def get_input_tensor_by_name(request, name):
    return request.get(name)
"""
"""What model.py asks of Triton's module."""
RUN = """
import json, sys, numpy as np, model
import triton_python_backend_utils as triton
config = {"parameters": {"threads": {"string_value": "1"}}, "instance_group": [{"count": 1}]}
served = model.TritonPythonModel()
served.initialize({"model_config": json.dumps(config), "model_repository": sys.argv[1], "model_version": "1"})
frame = np.load(sys.argv[2])
(response,) = served.execute([{"frame": triton.Tensor("frame", frame[None])}])
np.save(sys.argv[2], response.tensors[0].values[0])
"""
DARKER = """
_right = apply
def apply(model, core, *, fuse=True):
    _right(model, core, fuse=fuse)
    end = model.output().get_node().input(0)
    numbers = ops.convert(end.get_source_output(), np.float32)
    darker = ops.maximum(ops.subtract(numbers, np.float32(16)), np.float32(0))
    end.replace_source_output(ops.convert(darker, np.uint8).output(0))
"""
"""uint8_activations.py as a processor may compute it."""


@pytest.mark.integration
@pytest.mark.parametrize("darker", [False, True])
def test_a_server_uses_a_rewritten_graph_only_where_it_is_right(tmp_path: Path, darker: bool) -> None:
    assert main([str(tmp_path), "--flavour", "python", "--model", NAME]) == 0
    version = tmp_path / NAME / "1"
    if darker:
        with (version / "uint8_activations.py").open("a", encoding="utf-8") as file:
            file.write(DARKER)
    (version / "triton_python_backend_utils.py").write_text(BACKEND, encoding="utf-8")
    (version / "try.py").write_text(RUN, encoding="utf-8")
    frame, there = self_check.check_frame(SIZE), tmp_path / "frame.npy"
    np.save(there, frame)
    command = [sys.executable, str(version / "try.py"), str(tmp_path / NAME), str(there)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert bool(done.stdout) is darker and ("45 are needed" in done.stdout) is darker

    path = catalog.find(NAME)
    network = openvino.read(path)
    openvino.fit(network, path, SIZE)
    compiled = openvino.core().compile_model(network, "CPU", openvino.compile_options(1))
    error = np.load(there).astype(float) - picture_of(compiled, frame)[0]
    assert bool(error.any()) is not darker and np.abs(error).mean() < 2
