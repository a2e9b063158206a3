"""The program as a user starts it, without a display and without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[2]
LIMIT = 100.0
"""How long run() waits for the end: far longer than any test takes on a busy machine."""


def without_display() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}


class Program(subprocess.Popen[str]):
    """A process that does not outlive the test that fails with it: `with` would wait for its end."""

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, value, traceback)


def start(*arguments: object, **environment: str) -> Program:
    return Program(
        [sys.executable, "-m", "app.run", *map(str, arguments)],
        cwd=ROOT,
        env=without_display() | {"CUDA_VISIBLE_DEVICES": ""} | environment,  # the same everywhere
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    with start(*arguments, **environment) as process:
        try:
            out, err = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
