"""What is said, in place of a traceback, where a package of setup.py's extras is missing.

Importing this is enough. A script does so before anything that may be missing: behind its `sys.path.insert`, and with
`# isort: split` below, that the imports stay in that order.
"""

from __future__ import annotations

import sys
from types import TracebackType

EXTRAS = {
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


def told(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What ends the program, as sys.excepthook is given it; behind it Python exits with 1."""
    package = str(error.name).partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in EXTRAS:
        print(f"{sys.argv[0]} needs {package}: .venv/bin/pip install -e '.[{EXTRAS[package]}]'", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = told
