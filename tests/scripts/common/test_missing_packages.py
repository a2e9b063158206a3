"""Scripts that need more than the base install say what is missing, and how to get it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.run import NOT_INSTALLED
from scripts.common.missing_packages import BASE_PACKAGES, EXTRA_OF_PACKAGE

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


def python(folder: Path, *arguments: str, missing: str = "") -> subprocess.CompletedProcess[str]:
    """Python in the project's folder, where the package `missing` cannot be imported."""
    if missing:
        (folder / f"{missing}.py").write_text(f'raise ModuleNotFoundError("No module", name="{missing}")\n')
    paths = os.pathsep.join(map(str, (folder, ROOT)))
    environment = os.environ | {"PYTHONPATH": paths}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("script", "missing"),
    [
        ("export", "onnx"),
        ("quantize", "tqdm"),
        ("train", "torch"),
        ("tune", "optuna"),
        ("benchmarks/fleet/naive_server", "torch"),
        ("states", "mss"),
        ("triton_repository", "onnx"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path: Path, script: str, missing: str) -> None:
    done = python(tmp_path, f"scripts/{script}.py", "--help", missing=missing)
    wanted = f"scripts/{script}.py needs {missing}: .venv/bin/pip install -e '.[{EXTRA_OF_PACKAGE[missing]}]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (NOT_INSTALLED, "", wanted)


@pytest.mark.parametrize("missing", ["psutil", "numpy"])
def test_what_the_base_install_brings_wants_the_environment_set_up(tmp_path: Path, missing: str) -> None:
    done = python(tmp_path, "scripts/bench.py", "--help", missing=missing)
    problem, facts, fix = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (NOT_INSTALLED, "") and "is not set up" in problem
    assert facts.endswith(f" has no package {missing}") and "./scripts/run" in fix


def test_a_package_of_a_single_command_is_named_as_it_is_installed(tmp_path: Path) -> None:
    done = python(tmp_path, "scripts/subset_font.py", "--help", missing="fontTools")
    assert done.returncode == NOT_INSTALLED
    assert done.stderr == "scripts/subset_font.py needs fontTools: .venv/bin/pip install fonttools\n"


@pytest.mark.parametrize(("code", "kind"), [("import torhc", "ModuleNotFoundError"), ("1 / 0", "ZeroDivisionError")])
def test_every_other_end_is_shown_as_ever(tmp_path: Path, code: str, kind: str) -> None:
    done = python(tmp_path, "-c", f"import scripts; {code}")
    assert done.returncode == 1 and done.stderr.startswith("Traceback") and kind in done.stderr


def test_the_extras_are_those_of_the_installation() -> None:
    setup = (ROOT / "setup.py").read_text()
    wheels = {"skimage": "scikit-image"}
    for package, extra in EXTRA_OF_PACKAGE.items():
        found = re.search(rf'    "{extra}": \[(.*?)\],\n', setup, re.DOTALL)
        assert found and f'"{wheels.get(package, package)}' in found[1], package


def test_the_base_packages_are_those_of_the_installation() -> None:
    found = re.search(r"^BASE = \[\n(.*?)^\]\n", (ROOT / "setup.py").read_text(), re.DOTALL | re.MULTILINE)
    assert found
    wheels = set(re.findall(r'^    "([\w-]+)', found[1], re.MULTILINE))
    names = {"PyYAML": "yaml", "pillow": "PIL"}
    assert {names.get(wheel, wheel) for wheel in wheels} | {"cv2"} == BASE_PACKAGES
