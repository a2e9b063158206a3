"""Every name of TensorRT and pycuda that the engine uses exists in the real bindings of the versions supported."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from engines.cuda import driver
from tests.fakes.stub_library import hollow

ROOT = Path(__file__).parents[3]
SDKS = ROOT / ".venv" / "sdk"

# What the engine's variables are.
KINDS = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser",
    "config": "IBuilderConfig",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "self._context": "IExecutionContext",
    "runtime": "Runtime",
    "frame": "ITensor",
    "sr": "ITensor",
    "tensor": "ITensor",
    "layer": "ILayer",
    "cache": "ITimingCache",
    "layer.get_output(0)": "ITensor",
    "parser.get_error(i)": "ParserError",
}
ONLY_RTX = {"IBuilderConfig.num_compute_capabilities", "IBuilderConfig.set_compute_capability"}
OVERRIDDEN = {
    "IProgressMonitor": ["phase_start", "step_complete", "phase_finish"],
    "IProfiler": ["report_layer_time"],
    "ILogger": ["log"],
}

LOOK_UP = """
import functools, importlib, json, sys
module = importlib.import_module(sys.argv[1])
def there(name):
    try:
        functools.reduce(getattr, name.split("."), module)
    except AttributeError:
        return False
    return True
names = json.load(sys.stdin)
print(json.dumps([module.__version__, [name for name in names if not there(name)]]))
"""


def sources(pattern: str) -> str:
    """The text of all files of engines/ in which `pattern` is found."""
    texts = [path.read_text() for path in (ROOT / "engines").rglob("*.py")]
    return "\n".join(text for text in texts if re.search(pattern, text))


WITH_TENSORRT = r"\btrt\."
WITH_PYCUDA = r"class CudaDevice\b|from engines\.cuda\b.* import"


def names_used() -> set[str]:
    """TensorRT's names in the files that use it, written as Class.member."""
    found = {f"{kind}.{name}" for kind, names in OVERRIDDEN.items() for name in names}
    for node in ast.walk(ast.parse(sources(WITH_TENSORRT))):
        if not isinstance(node, ast.Attribute):
            continue
        owner = ast.unparse(node.value)
        if owner in KINDS:
            found.add(f"{KINDS[owner]}.{node.attr}")
        elif re.fullmatch(r"trt(\.\w+)*", owner):
            found.add(f"{owner}.{node.attr}".removeprefix("trt."))
    return found - {"__name__"}


def missing(folder: str, module: str, names: set[str], libraries: Path | None = None) -> tuple[str, set[str]]:
    """The version of a binding, and which of `names` it lacks; looked up in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(SDKS / folder), "LD_LIBRARY_PATH": str(libraries or "")}
    done = subprocess.run(
        [sys.executable, "-c", LOOK_UP, module],
        env=environment,
        input=json.dumps(sorted(names)),
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode:
        raise ImportError(done.stderr)
    version, absent = json.loads(done.stdout)
    return version, set(absent)


def test_the_names_are_found() -> None:
    """Of every kind some, so that a renamed variable does not end the search."""
    names = names_used()
    assert {name.partition(".")[0] for name in names} >= set(KINDS.values()) | set(OVERRIDDEN)
    # One at least of every file: engines/tensorrt/sdk.py, tensorrt_slots.py and builder.py.
    assert {"ILogger.Severity.ERROR", "BuilderFlag.GPU_FALLBACK"} <= names
    assert {"IExecutionContext.execute_async_v3", "Runtime.DLA_core"} <= names
    text = sources(WITH_TENSORRT)
    for gone in ("binding", "execute_async_v2", "max_workspace_size", "EXPLICIT_BATCH", "alibrator"):
        assert gone not in text, f"{gone} is gone from TensorRT 10 or 11"


@pytest.mark.integration
@pytest.mark.sdk
@pytest.mark.parametrize(("folder", "version"), [("trt10", "10.3.0"), ("trt11", "11.4.0.106")])
def test_tensorrt_has_them(tmp_path: Path, folder: str, version: str) -> None:
    """The bindings alone, over libraries that hold nothing: importing needs their names, looking up needs no more."""
    major = version.partition(".")[0]
    exported: list[str] = []
    for _ in range(40):
        for library in ("nvinfer", "nvinfer_plugin", "nvonnxparser"):
            hollow(tmp_path / f"lib{library}.so.{major}", exported)
        try:
            found, absent = missing(folder, "tensorrt_bindings", names_used(), tmp_path)
            break
        except ImportError as error:
            wanted = re.search(r"undefined symbol: (\w+)", str(error))
            assert wanted and wanted[1] not in exported, error
            exported.append(wanted[1])
    assert found == version
    assert absent == ONLY_RTX


@pytest.mark.integration
@pytest.mark.sdk
def test_tensorrt_rtx_has_them() -> None:
    _, absent = missing("rtx", "tensorrt_rtx", names_used())
    assert not absent


@pytest.mark.integration
@pytest.mark.sdk
def test_what_the_mutations_of_versions_are(tmp_path: Path) -> None:
    """A name that is made up is not found: the look-up can fail."""
    assert missing("rtx", "tensorrt_rtx", {"Builder.max_workspace_size"})[1] == {"Builder.max_workspace_size"}


def pycuda_names_used() -> set[str]:
    """Names looked up on pycuda's driver module, and on what comes from it."""
    used = set()
    for node in ast.walk(ast.parse(sources(WITH_PYCUDA))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).rpartition(".")[2] in MODULES:
            used.add(node.attr)
    return used - {"driver"} - set(vars(driver))  # ours has the same name


MODULES = ("driver", "_driver", "cuda", "device_attribute", "host_alloc_flags", "attribute")
METHODS = {
    *("retain_primary_context", "compute_capability", "get_attribute", "push", "pop", "get_device_pointer", "free"),
    *("handle", "is_done", "record", "query", "time_till", "mem_flags"),
}
"""Of contexts, devices, streams, events and allocations."""


@pytest.mark.sdk
def test_pycuda_has_them() -> None:
    """pycuda cannot be imported without CUDA, so its names are read off the source of its bindings."""
    (archive,) = (SDKS / "pycuda").glob("pycuda-*.tar.gz")
    with tarfile.open(archive) as files:
        member = next(one for one in files.getmembers() if one.name.endswith("src/wrapper/wrap_cudadrv.cpp"))
        source = files.extractfile(member)
        assert source is not None
        text = source.read().decode()
    exported = set(re.findall(r'"(\w+)"', text)) | set(re.findall(r"DEF_SIMPLE_\w+\((\w+)", text))
    assert {"memcpy_htod_async", "INTEGRATED", "DEVICEMAP", "pagelocked_empty", "mem_get_info"} <= pycuda_names_used()
    assert not (pycuda_names_used() | METHODS) - exported - {"Error"}
    assert re.search(r"DECLARE_EXC\(Error,", text)  # a macro makes it
