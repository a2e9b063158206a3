"""Every command of scripts/ starts both ways: python scripts/NAME.py and python -m scripts.NAME."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

from scripts.common.checkout import ROOT
from scripts.common.missing_extras import EXTRA_OF_PACKAGE

COMMANDS = sorted(path.stem for path in (ROOT / "scripts").glob("[!_]*.py"))
OPTIONAL = {*EXTRA_OF_PACKAGE, "fontTools"}
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


def test_no_library_imports_a_command() -> None:
    commands = {f"scripts.{name}" for name in COMMANDS}
    libraries = sorted((ROOT / "scripts").glob("*/**/*.py"))
    assert len(libraries) > 40
    for path in libraries:
        imported = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        assert not imported & commands, path
