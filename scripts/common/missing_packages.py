"""The message about a package that is not installed, in place of a traceback.

Imports the standard library alone, like app/run.py.
"""

from __future__ import annotations

import importlib.util
import sys
from types import TracebackType

from app.run import NOT_INSTALLED

BASE_PACKAGES = frozenset(
    ("numpy", "openvino", "av", "pydantic", "yaml", "psutil", "filelock", "PIL", "platformdirs", "linuxpy", "cv2")
)
"""What every environment has: what setup.py always installs, and OpenCV, which scripts/shell/venv.sh brings."""
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
"""By package the extra of setup.py that brings it, the smallest where there are several."""
LONE_PACKAGES = {"fontTools": "fonttools"}
"""By package the name to install it by, where it belongs to no extra: a single command needs it."""


def install() -> None:
    """Have Python print the message from now on. scripts/__init__.py calls this before any script does anything."""
    sys.excepthook = print_missing_package


def print_missing_package(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print which package a program lacks and how to get it, or any other exception as Python does.

    The parameters are those of sys.excepthook. Raises SystemExit with NOT_INSTALLED for a package that is known here.
    """
    package = str(error.name).partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    extra, lone = EXTRA_OF_PACKAGE.get(package), LONE_PACKAGES.get(package)
    if package in BASE_PACKAGES or ((extra or lone) and importlib.util.find_spec("numpy") is None):
        facts, fix = f"{sys.executable} has no package {package}", "./scripts/run or ./scripts/test sets it up"
        print(f"Error: The environment of this program is not set up\n  {facts}\n  {fix}", file=sys.stderr)
    elif extra:
        print(f"{sys.argv[0]} needs {package}: .venv/bin/pip install -e '.[{extra}]'", file=sys.stderr)
    elif lone:
        print(f"{sys.argv[0]} needs {package}: .venv/bin/pip install {lone}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
        return
    raise SystemExit(NOT_INSTALLED)
