"""What is installed where."""

from __future__ import annotations

import importlib.metadata
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def base() -> list[str]:
    """The requirements of the install without extras."""
    return [one for one in importlib.metadata.requires("livesr") or [] if "extra ==" not in one]


def test_the_base_install_is_small_and_shadows_no_opencv() -> None:
    names = {one.split(";")[0].strip(" ()").split(">")[0].split("=")[0].lower() for one in base()}
    expected = "numpy openvino av pydantic pyyaml psutil platformdirs linuxpy filelock pillow"
    assert names == set(expected.split())


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.10", "3.12"])
def test_a_jetson_needs_no_compiler(tmp_path: Path, python: str) -> None:
    """JetPack 6 has Ubuntu 22.04 (glibc 2.35) and Python 3.10, JetPack 7 Ubuntu 24.04 (2.39) and 3.12.

    With OpenCV, for a board whose own is missing: what fits with it fits without it, too.
    """
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in range(17, 36)]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
    options = ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp", f"--target={tmp_path}"]
    # Markers are read for the machine that asks, which is Linux too.
    done = subprocess.run(
        [*command, *options, *platforms, "--platform=manylinux2014_aarch64", *base(), "opencv-python"],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", ["run", "test"])
def test_the_scripts_are_sound_shell(script: str) -> None:
    done = subprocess.run(["bash", "-n", ROOT / "scripts" / script], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, done.stderr


def copy_scripts(folder: Path) -> None:
    (folder / "scripts").mkdir()
    for name in ("run", "venv.sh"):
        (folder / "scripts" / name).write_bytes((ROOT / "scripts" / name).read_bytes())
    (folder / "setup.py").write_text("")


def test_a_model_repository_is_looked_for_where_the_command_is_given(tmp_path: Path) -> None:
    command = ["bash", str(ROOT / "scripts/triton_server.sh"), "run", "models"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and f"There is no folder {tmp_path}/models." in done.stderr


def test_the_run_script_says_which_python_it_wants(tmp_path: Path) -> None:
    """In a copy of the scripts, on a PATH without any Python."""
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "dirname", "cat", "cksum", "env"):
        found = subprocess.run(["which", tool], capture_output=True, text=True, timeout=10).stdout.strip()
        (tmp_path / "bin" / tool).symlink_to(found)
    copy_scripts(tmp_path)
    done = subprocess.run(
        [tmp_path / "bin" / "bash", tmp_path / "scripts" / "run"],
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert "No Python 3.10 to 3.13" in done.stderr


def test_an_interrupted_set_up_is_made_good(tmp_path: Path) -> None:
    """Killed when .venv has a Python and no pip yet; then without an index, as far as a pip that says so."""
    copy_scripts(tmp_path)
    command = ["bash", str(tmp_path / "scripts/run"), "--list"]
    environment = os.environ | {"PYTHON": sys.executable, "PIP_NO_INDEX": "1"}
    python = tmp_path / ".venv/bin/python"
    with subprocess.Popen(command, env=environment, start_new_session=True) as first:
        end = time.monotonic() + 30
        while not python.exists() and time.monotonic() < end:
            time.sleep(0.01)
        os.killpg(first.pid, signal.SIGKILL)
    assert python.exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and "No module named pip" not in done.stderr, done.stderr
    assert "pip's words are above" in done.stderr
    assert subprocess.run([python, "-m", "pip", "--version"], capture_output=True, timeout=30).returncode == 0


def test_a_complete_environment_starts_at_once(tmp_path: Path) -> None:
    """With a Python that only notes what it is asked."""
    copy_scripts(tmp_path)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("python", "pip"):
        (tmp_path / ".venv/bin" / name).write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\n')
        (tmp_path / ".venv/bin" / name).chmod(0o755)
    calls = tmp_path / "calls"
    for expected in ("pip install", ""):
        calls.unlink(missing_ok=True)
        command = ["bash", str(tmp_path / "scripts/run"), "--list"]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"DISPLAY": ":0"}, timeout=30)
        *before, last = calls.read_text().splitlines()
        assert last == "-m app.run --list"
        assert expected in " ".join(before) if expected else not before
