"""Who may import whom, and that nothing needs a Jetson to be imported."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for top in ("app", "engines")
    for path in (ROOT / top).rglob("*.py")
)

WITHOUT = """
import importlib, sys
absent = {"tensorrt", "tensorrt_rtx", "pycuda", "nvtx", "tritonclient", "jtop", "torch", "onnx"}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


@pytest.mark.integration
def test_everything_imports_without_a_jetson() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, *MODULES], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.integration
def test_loading_an_engine_imports_no_other() -> None:
    code = (
        "import engines, sys; engines.load(engines.EngineRequest('bicubic', '', (32, 32)));"
        "print('openvino' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.integration
def test_openvino_tells_nobody_that_it_is_used() -> None:
    code = (
        "import engines.openvino.engine, multiprocessing, sys;"
        "print(multiprocessing.active_children(), [m for m in sys.modules if m.startswith('openvino_telemetry.')])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "CI"}  # there it is silent by itself
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[] []\n", done.stderr


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_one_way(name: str) -> None:
    path = ROOT / Path(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    forbidden = {"app": {"scripts", "tests"}, "engines": {"app", "scripts", "tests"}}[name.split(".")[0]]
    assert not {module for module in imported(path) if module.split(".")[0] in forbidden}
    if name in ("app.pipeline.frame", "app.pipeline.ring", "app.pipeline.stats", "app.pipeline.pipeline"):
        concrete = {m for m in imported(path) if m.startswith(("app.sources.", "app.sinks.", "engines.open", "cv2"))}
        assert not concrete


@pytest.mark.integration
@pytest.mark.parametrize("name", [*MODULES, *(f"scripts.{path.stem}" for path in (ROOT / "scripts").glob("*.py"))])
def test_one_file_imports_tensorrt_and_pycuda(name: str) -> None:
    path = ROOT / Path(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    sdks = {"tensorrt", "tensorrt_rtx", "tensorrt_bindings", "pycuda"}
    used = {module for module in imported(path) if module.split(".")[0] in sdks}
    used |= {word for word in ("import_module(", "__import__(") if word in path.read_text()}
    assert name == "engines.tensorrt.sdk" or not used
    # Handed on as `trt`, to two others.
    handed = {"engines.tensorrt.sdk", "engines.tensorrt.builder", "engines.tensorrt.engine"}
    assert name in handed or not re.search(r"\btrt\b", path.read_text())
