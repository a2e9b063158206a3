"""What is installed where."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

pytestmark = pytest.mark.integration

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


def copy_scripts(folder: Path) -> None:
    shutil.copytree(ROOT / "scripts/shell", folder / "scripts/shell")
    for name in ("run", "test"):
        shutil.copy(ROOT / "scripts" / name, folder / "scripts")
    for name in ("setup.py", "pyproject.toml"):
        (folder / name).touch()


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def programs(folder: Path, *names: str) -> Path:
    """A folder for PATH that has these programs of the system alone."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def test_a_model_repository_is_looked_for_where_the_command_is_given(tmp_path: Path) -> None:
    command = ["bash", str(ROOT / "scripts/triton_server.sh"), "run", "models"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and f"There is no folder {tmp_path}/models." in done.stderr


@pytest.mark.parametrize(
    ("python", "version", "expected"),
    [
        ("", "", "looked for python3.10 ... python3.14, python3"),
        ("python3", "3.9", "looked for python3.10 ... python3.14, python3"),
        ("python3.15", "3.15", "found Python 3.15; OpenVINO has no wheels for 3.15 yet"),
    ],
)
def test_the_run_script_says_which_python_it_wants(tmp_path: Path, python: str, version: str, expected: str) -> None:
    """In a copy of the scripts, on a PATH without any Python or with a single one."""
    path = programs(tmp_path / "bin", "bash", "dirname", "cat", "cksum", "env")
    if python:
        executable(path / python, f"echo {version}")
    copy_scripts(tmp_path)
    command = [path / "bash", tmp_path / "scripts/run"]
    done = subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "No Python 3.10 to 3.14 was found" in done.stderr and expected in done.stderr


def test_the_scripts_take_the_pythons_that_setup_py_takes() -> None:
    versions = [f"3.{minor}" for minor in range(8, 20)]
    script = ". scripts/shell/venv.sh; for one in $*; do if supported $one; then echo $one; fi; done"
    done = subprocess.run(
        ["bash", "-c", script, "bash", *versions], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    (stated,) = re.findall(r'python_requires="(.*?)"', (ROOT / "setup.py").read_text())
    assert done.stdout.split() == [one for one in versions if one in SpecifierSet(stated)]


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
    assert "pip's output is above" in done.stderr
    assert subprocess.run([python, "-m", "pip", "--version"], capture_output=True, timeout=30).returncode == 0


def fake_environment(folder: Path) -> Path:
    """An environment whose programs only note what they are asked, in the file that is returned."""
    for name in ("python", "pip", "ruff", "mypy", "typos", "shellcheck", "lint-imports"):
        executable(folder / ".venv/bin" / name, f'echo "$*" >>{folder}/calls')
    return folder / "calls"


def test_a_complete_environment_starts_at_once(tmp_path: Path) -> None:
    copy_scripts(tmp_path)
    calls = fake_environment(tmp_path)
    for expected in ("install -e", ""):
        calls.unlink(missing_ok=True)
        command = ["bash", str(tmp_path / "scripts/run"), "--list"]
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"DISPLAY": ":0"}, timeout=30)
        *before, last = calls.read_text().splitlines()
        assert last == "-m app.run --list"
        assert expected in " ".join(before) if expected else not before


def test_a_first_run_shows_nothing_of_what_pip_says_unless_it_fails(tmp_path: Path) -> None:
    copy_scripts(tmp_path)
    fake_environment(tmp_path)
    chatter = "echo WARNING: Location 'file:///a/' is ignored: it is neither a file nor a directory. >&2"
    command = ["bash", str(tmp_path / "scripts/run"), "--list"]
    executable(tmp_path / ".venv/bin/python", f'case $* in *install*) {chatter} ;; *app.run*) echo "$*" ;; esac')
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"DISPLAY": ":0"}, timeout=30)
    assert done.returncode == 0 and done.stdout == "-m app.run --list\n"
    assert done.stderr == "Installing into .venv; this takes a minute the first time.\n"

    (tmp_path / ".venv/installed-base").unlink()
    fault = f"{chatter}; echo ERROR: No matching distribution >&2; exit 1"
    executable(tmp_path / ".venv/bin/python", f"case $* in *install*) {fault}; esac")
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "ERROR: No matching distribution" in done.stderr and "is ignored" not in done.stderr


@pytest.mark.parametrize(
    ("root", "option", "installs"),
    [(True, None, True), (False, None, False), (True, "--no-system-packages", False)],
)
def test_the_x_server_is_installed_where_it_may_be(
    tmp_path: Path, root: bool, option: str | None, installs: bool
) -> None:
    """On a PATH without one; apt-get, id and sudo are played, as nothing is to be installed here."""
    tools = ("bash", "dirname", "cat", "cksum", "env", "grep", "nproc", "mktemp", "rm", "touch", "true")
    path = programs(tmp_path / "bin", *tools)
    executable(path / "id", f"echo {0 if root else 1000}")
    executable(path / "sudo", "echo a password is required >&2; exit 1")
    executable(path / "apt-get", f'echo "apt-get $*" >>{tmp_path}/calls')
    copy_scripts(tmp_path)
    calls = fake_environment(tmp_path)
    command = [str(path / "bash"), str(tmp_path / "scripts/test"), *([option] if option else []), "-x"]
    done = subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    asked = [line for line in calls.read_text().splitlines() if line.startswith("apt-get install")]
    (tests,) = (line for line in calls.read_text().splitlines() if line.startswith("-m pytest"))
    assert tests.endswith(" -x")
    if installs:
        assert all(package in asked[0].split() for package in ("xvfb", "xdotool", "openbox", "wmctrl"))
        assert asked[0].partition("xvfb")[2] in done.stderr, "it must print what it installs"
        assert "not display" not in tests
    else:
        assert not asked and "not display" in tests
        assert "Left out, for want of an X server: tests marked display." in done.stdout


def test_the_tiers_are_of_one_command(tmp_path: Path) -> None:
    copy_scripts(tmp_path)
    calls = fake_environment(tmp_path)
    for options, mark in (
        (["--quick"], "(unit) and not gpu"),
        (["--quick", "--media"], "(unit or media) and not gpu"),
        (["--no-system-packages"], "not gpu"),
    ):
        calls.unlink(missing_ok=True)
        done = subprocess.run(["bash", tmp_path / "scripts/test", *options], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        assert calls.read_text().splitlines()[-1].startswith(f"-m pytest -m {mark}")


def test_without_the_environment_the_program_says_how_to_get_it() -> None:
    command = [sys.executable, "-S", "-m", "app.run", "--list"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2 and not done.stdout
    first, facts, fix = done.stderr.splitlines()
    assert first == "Error: The environment of this program is not set up"
    assert facts.startswith("  ") and "has no package" in facts and fix == "  ./scripts/run sets it up"
