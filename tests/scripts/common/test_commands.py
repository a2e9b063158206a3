"""Every command of scripts/ starts both ways: python scripts/NAME.py and python -m scripts.NAME; or it says why not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest

from app.run import NOT_INSTALLED
from scripts.common.checkout import ROOT
from scripts.common.missing_packages import EXTRA_OF_PACKAGE, LONE_PACKAGES

COMMANDS = sorted(path.stem for path in (ROOT / "scripts").glob("[!_]*.py"))
OPTIONAL = {*EXTRA_OF_PACKAGE, *LONE_PACKAGES}
"""Packages that a command may lack where its extra is not installed."""
PRINT_HELP = """
import contextlib, io, json, runpy, sys
way, *names = sys.argv[1:]
ends = {}
for name in names:
    sys.argv, output = [name, "--help"], io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            if way == "path":
                sys.path[0] = "scripts"
                runpy.run_path(f"scripts/{name}.py", run_name="__main__")
            else:
                runpy.run_module(f"scripts.{name}", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        ends[name] = end.code, output.getvalue().partition(" ")[0]
    except ModuleNotFoundError as error:
        ends[name] = error.name.partition(".")[0], ""
print(json.dumps(ends))
"""
"""All commands in one process, as importing PyTorch and OpenVINO takes much longer than anything else they do."""


@pytest.mark.integration
@pytest.mark.parametrize("way", ["path", "module"])
def test_every_command_prints_its_help(way: str) -> None:
    command = [sys.executable, "-c", PRINT_HELP, way, *COMMANDS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    ends = json.loads(done.stdout)
    assert sorted(ends) == COMMANDS
    assert {name: end for name, end in ends.items() if end != [0, "usage:"] and end[0] not in OPTIONAL} == {}


@pytest.mark.integration
@pytest.mark.parametrize("name", COMMANDS)
def test_without_any_package_a_command_says_what_sets_the_environment_up(name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    for way in ([f"scripts/{name}.py"], ["-m", f"scripts.{name}"]):
        # -S: the interpreter looks for no installed packages.
        command = [sys.executable, "-S", *way, "--help"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100)
        problem, facts, fix = done.stderr.splitlines()
        assert (done.returncode, done.stdout, problem) == (
            NOT_INSTALLED,
            "",
            "Error: The environment of this program is not set up",
        )
        assert re.fullmatch(rf"  {re.escape(sys.executable)} has no package \w+", facts)
        assert fix == "  ./scripts/run or ./scripts/test sets it up"
