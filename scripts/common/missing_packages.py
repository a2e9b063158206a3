"""The message about a missing package of setup.py's extras, in place of a traceback."""

from __future__ import annotations

import sys
from types import TracebackType

EXTRA_OF_PACKAGE = {
    "onnx": "wrap",
    "torch": "train",
    "tqdm": "train",
    "optuna": "train",
    "matplotlib": "quality",
    "skimage": "quality",
    "tritonclient": "triton",
    "mss": "test",
}
"""By package the extra that brings it, the smallest where there are several. OpenCV is not among them:
scripts/shell/venv.sh brings it, and on a Jetson, which has its own, pip must not."""


def install() -> None:
    """Have Python print the message from now on. scripts/__init__.py calls this before any script does anything."""
    sys.excepthook = print_missing_extra


def print_missing_extra(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print which extra a program lacks, or any other exception as Python does.

    The parameters are those of sys.excepthook, after which Python exits with status 1.
    """
    package = str(error.name).partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if extra := EXTRA_OF_PACKAGE.get(package):
        print(f"{sys.argv[0]} needs {package}: .venv/bin/pip install -e '.[{extra}]'", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
