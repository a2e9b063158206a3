"""Keep the results of self-checks beside the compiled models, so that each is made once.

One small JSON file a result. What it depends on is written into it and compared, so that another processor, another
OpenVINO, another model or another version of a rewriting asks anew.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

import openvino as ov

from engines.support import atomic_file

log = logging.getLogger(__name__)

CPUINFO = Path("/proc/cpuinfo")
FEATURES = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU ")
"""How the lines of CPUINFO begin, on x86 and on ARM, that say what a processor can do."""
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that make oneDNN use less than that."""


@dataclass(frozen=True)
class Key:
    """All that the result of a check depends on."""

    model: str
    """SHA-256 of the .onnx file."""
    rewriting: str
    """Version of the rewriting and of the check."""
    openvino: str
    """Version of OpenVINO."""
    processor: str
    """processor_id()."""

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, in hexadecimal."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()


class SelfCheckCache:
    """The results in `folder`, which need not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: Key) -> float | None:
        """PSNR in dB that was measured for `key`; None if nothing is kept or what is kept cannot be believed."""
        try:
            found = json.loads(self._file(key).read_bytes())
            psnr_db = found["psnr_db"]
            believed = found["key"] == asdict(key) and type(psnr_db) is float and psnr_db > 0
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return None
        return psnr_db if believed else None

    def put(self, key: Key, psnr_db: float) -> None:
        """Keep `psnr_db`. Where that fails, the next start checks again."""
        text = json.dumps({"key": asdict(key), "psnr_db": psnr_db}, indent=1)
        try:
            atomic_file.write_atomic(self._file(key), text.encode(), parents=True)
        except OSError as error:
            log.info("the result of the self-check was not cached: %s", error)

    def _file(self, key: Key) -> Path:
        return self._folder / f"{key.digest[:20]}.check.json"


def source_digest(*modules: ModuleType) -> str:
    """SHA-256 of what `modules` were loaded from, which changes with every change to their code."""
    files = [Path(module.__file__ or "").read_bytes() for module in modules]
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in files)).hexdigest()


@functools.cache
def processor_id(core: ov.Core, cpuinfo: Path = CPUINFO) -> str:
    """Tell this processor, and the instructions that may be used, from others. `cpuinfo` is the kernel's description.

    OpenVINO's own name for a processor is the same for all of ARM's, so that the kernel's description belongs to it.
    """
    properties = [str(core.get_property("CPU", name)) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    limits = [f"{name}={os.environ[name]}" for name in LIMITS if name in os.environ]
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # another system than Linux
        lines = []
    features = sorted({line for line in lines if line.startswith(FEATURES)})  # once for each kind of core
    facts = [platform.machine(), *properties, *limits, *features]
    return f"{platform.machine()} {hashlib.sha256(chr(10).join(facts).encode()).hexdigest()}"
