"""Nothing needs a Jetson to be imported. Who may import whom is in pyproject.toml (import-linter)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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


def test_nothing_else_is_imported_by_name() -> None:
    """import-linter, which reads the contracts in pyproject.toml, sees import statements alone."""
    found = {
        str(path.relative_to(ROOT))
        for top in ("app", "engines", "scripts")
        for path in (ROOT / top).rglob("*.py")
        if any(word in path.read_text(encoding="utf-8") for word in ("import_module(", "__import__("))
    }
    assert found == {"engines/tensorrt/sdk.py"}


def test_no_test_imports_another() -> None:
    """What two of them need is in tests/support or tests/fakes, so that a file can be read, moved and run alone."""
    found = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in (ROOT / "tests").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s*(from|import) tests\b.*\btest_", line)
    ]
    assert found == []
