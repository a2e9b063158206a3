"""Standard error with --log-format json: an object a line, whatever goes wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import run

pytestmark = pytest.mark.e2e

DEMO = ("--source", "demo", "--headless", "--frames", "3", "--engine", "bicubic")
FAILURES: dict[str, tuple[int, list[str]]] = {
    "an unknown option": (2, [*DEMO, "--zooom"]),
    "a wrong value": (2, [*DEMO, "--fps", "0"]),
    "no configuration": (2, [*DEMO, "--config", "{tmp}/none.yaml"]),
    "a former key": (2, [*DEMO, "--config", "{tmp}/old.yaml"]),
    "no source": (1, ["--source", "{tmp}/no\nsuch.mkv", "--headless"]),
    "a damaged film": (1, ["--source", "{tmp}/noise.mp4", "--headless"]),
    "a damaged picture": (1, ["--source", "{tmp}/noise.jpg", "--headless"]),
    "no server": (1, ["--source", "demo", "--headless", "--engine", "triton://127.0.0.1:1/fast-x2"]),
    "a model that is none": (1, ["--source", "demo", "--headless", "--isolate", "--model", "{tmp}/noise.onnx"]),
    "an encoder that is none": (2, [*DEMO, "--record", "{tmp}/a.mp4", "--encoder", "none"]),
}


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("failure", FAILURES)
def test_every_line_of_a_failure_is_json(tmp_path: Path, failure: str, verbose: bool) -> None:
    for name in ("noise.mp4", "noise.jpg", "noise.onnx"):
        (tmp_path / name).write_bytes(bytes(range(256)) * 20)
    (tmp_path / "old.yaml").write_text("kiosk: {zoom: true}")
    status, arguments = FAILURES[failure]
    given = [argument.replace("{tmp}", str(tmp_path)) for argument in arguments]
    done = run("--log-format", "json", *given, *(["--verbose"] if verbose else []))
    assert done.returncode == status, done.stderr
    lines: list[dict[str, Any]] = [json.loads(line) for line in done.stderr.splitlines()]
    (failed,) = [line for line in lines if line["event"] == "program_failed"]
    assert ("exception" in failed) == verbose and failed["message"]
