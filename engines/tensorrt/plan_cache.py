"""The cache of what TensorRT has built. It knows files, keys and locks, and nothing of TensorRT itself.

A plan runs only on the GPU and with the TensorRT that built it, so everything that can differ is in its key. One
file a plan: a line that says what follows, a line of JSON about it, then the plan.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from engines.errors import EngineError
from engines.support import atomic_file
from engines.support.progress import BuildProgress

log = logging.getLogger(__name__)

PLAN_MAGIC = b"livesr plan 1\n"
LOCK_POLL_S = 0.2
"""Between two looks at a lock."""
LOCK_TIMEOUT_S = 3600.0
"""After how long a build of another process counts as hung."""

T = TypeVar("T")


@dataclass(frozen=True)
class PlanKey:
    """All that a plan depends on."""

    model: str
    """The .onnx file's name without its ending."""
    checksum: str
    """SHA-256 of the .onnx file."""
    size: str
    """Input, as WIDTHxHEIGHT."""
    sdk: str
    """Name and version of the library that builds, such as "tensorrt 10.3.0"."""
    gpu: str
    """Name and compute capability of the GPU."""
    options: str
    """The builder's other options."""

    @property
    def file(self) -> str:
        """The name of the plan's file."""
        digest = hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()
        return f"{self.model}-{self.size}-{digest[:12]}.plan"

    def differs(self, other: PlanKey) -> str:
        """Return in words how `other` differs from this key."""
        mine, theirs = asdict(self), asdict(other)
        words = [f"{name} {theirs[name]}, here {value}" for name, value in mine.items() if theirs[name] != value]
        return "; ".join("the model has changed" if word.startswith("checksum") else word for word in words)


@dataclass(frozen=True)
class Plan:
    """A built network, and what is known of it."""

    body: bytes
    precision: str
    """For the overlay: fp32, fp16 or int8."""
    seconds: float = 0.0
    """How long the build took."""


@dataclass(frozen=True)
class PlanEntry:
    """A plan on disk."""

    path: Path
    key: PlanKey
    seconds: float
    bytes: int
    built: float
    """When, in seconds since 1970."""


class PlanCache:
    """The plans in a folder, the user's cache folder by default."""

    def __init__(self, folder: Path | None = None, *, lock_timeout: float = LOCK_TIMEOUT_S) -> None:
        """`lock_timeout`: seconds after which a build of another process counts as hung."""
        self._lock_timeout = lock_timeout
        self.folder = folder or user_cache_path("livesr") / "tensorrt"

    def get(
        self,
        key: PlanKey,
        build: Callable[[], Plan],
        accept: Callable[[bytes], T | None],
        progress: BuildProgress,
    ) -> tuple[T, Plan]:
        """Return what `accept` makes of the plan for `key`, and the plan.

        Processes that ask at the same time build once.

        Args:
            key: What the plan depends on.
            build: Makes the plan, if there is none that is accepted.
            accept: Gets the bytes of a plan; returns None to refuse them.
            progress: Receives the progress of a build.

        Raises:
            EngineError: The build has failed, or its plan is refused.
        """
        with self._locked(key, progress):
            plan, why = self._read(key)
            if plan is not None:
                if (accepted := accept(plan.body)) is not None:
                    return accepted, plan
                why = f"{key.file} is refused by {key.sdk}"
            log.info("%s", why)
            began = time.monotonic()
            with progress.work(f"building the engine for {key.model} at {key.size}", self._last(key)):
                plan = build()
            plan = Plan(plan.body, plan.precision, round(time.monotonic() - began, 1))
            if (accepted := accept(plan.body)) is None:
                raise EngineError(
                    "A plan that was built just now is refused", f"{key.sdk} on {key.gpu}", "Try --engine openvino."
                )
            self._write(key, plan)
            return accepted, plan

    def entries(self) -> list[PlanEntry]:
        """Return all readable plans, newest first."""
        found = []
        for path in self.folder.glob("*.plan"):
            with contextlib.suppress(OSError, ValueError):
                head, body = split(path.read_bytes())
                entry = PlanEntry(path, PlanKey(**head["key"]), head["seconds"], len(body), path.stat().st_mtime)
                found.append(entry)
        return sorted(found, key=lambda entry: -entry.built)

    def prune(self, keep: Callable[[PlanKey], bool]) -> list[Path]:
        """Delete the plans whose key `keep` does not want, damaged ones and remains of builds that were killed.

        Returns what was deleted.
        """
        kept = {entry.path for entry in self.entries() if keep(entry.key)}
        gone = [path for pattern in ("*.plan", "*.part") for path in self.folder.glob(pattern) if path not in kept]
        for path in gone:
            path.unlink(missing_ok=True)
        for path in self.folder.glob("*.lock"):
            # One that is held belongs to a build that is going on.
            with contextlib.suppress(Timeout, OSError), FileLock(path, timeout=0):
                if path.with_suffix("") not in kept:
                    path.unlink()
        return sorted(gone)

    def read(self, name: str) -> bytes:
        """Return the content of a file beside the plans, such as a timing cache; empty if there is none."""
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return b""

    def write(self, name: str, content: bytes) -> None:
        """Write a file beside the plans. A full or read-only disk costs time at the next start, nothing else."""
        path = self.folder / name
        try:
            atomic_file.write_atomic(path, content)
        except OSError as error:
            log.warning("%s was not cached: %s", path, error.strerror)

    def put(self, key: PlanKey, plan: Plan) -> Path:
        """Keep a plan that was built for another machine, and return its file. Raises EngineError."""
        with self._locked(key, BuildProgress()):
            self._write(key, plan)
        path = self.folder / key.file
        if not path.exists():
            raise EngineError(f"{path} cannot be written", "see the line above", "Choose another folder.")
        return path

    def _write(self, key: PlanKey, plan: Plan) -> None:
        head = {"key": asdict(key), "precision": plan.precision, "seconds": plan.seconds, "sha256": digest(plan.body)}
        self.write(key.file, PLAN_MAGIC + json.dumps(head).encode() + b"\n" + plan.body)

    def _read(self, key: PlanKey) -> tuple[Plan | None, str]:
        """The plan for `key`, or None and why there is none."""
        path = self.folder / key.file
        try:
            head, body = split(path.read_bytes())
        except FileNotFoundError:
            near = [e for e in self.entries() if (e.key.model, e.key.size) == (key.model, key.size)]
            why = (
                f"the cached one, {near[0].path.name}, is for {key.differs(near[0].key)}" if near else "none is cached"
            )
            return None, f"there is no plan for {key.model} at {key.size}: {why}"
        except (OSError, ValueError) as error:
            return None, f"the plan {path.name} is damaged: {error}"
        if digest(body) != head["sha256"]:
            return None, f"the plan {path.name} is damaged: its checksum is wrong"
        return Plan(body, head["precision"], head["seconds"]), ""

    def _last(self, key: PlanKey) -> float | None:
        """Seconds the last build of this model took here: at this size if possible."""
        entries = [e for e in self.entries() if (e.key.model, e.key.gpu) == (key.model, key.gpu)]
        near = [e for e in entries if e.key.size == key.size] or entries
        return near[0].seconds if near else None

    @contextmanager
    def _locked(self, key: PlanKey, progress: BuildProgress) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / f"{key.file}.lock")
            self._acquire(lock, key, progress)
        except OSError as error:
            log.warning("continuing without the cache of plans: %s", error)
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def _acquire(self, lock: FileLock, key: PlanKey, progress: BuildProgress) -> None:
        try:
            lock.acquire(timeout=0)
            return
        except Timeout:
            pass
        until = time.monotonic() + self._lock_timeout
        with progress.work(f"waiting for another process that builds {key.model} at {key.size}"):
            while time.monotonic() < until:
                if progress.cancelled:
                    raise stopped()
                try:
                    lock.acquire(timeout=LOCK_POLL_S)
                    return
                except Timeout:
                    continue
        raise EngineError(
            "Another process has been building the same engine for too long",
            f"{lock.lock_file} has been locked for {self._lock_timeout:.0f} s",
            "End it, or delete the file.",
        )


def stopped() -> EngineError:
    """Return what a load raises that was asked to end early."""
    return EngineError("Loading the engine was stopped", "", "Start again to continue: what was timed so far is kept.")


def digest(content: bytes) -> str:
    """Return the SHA-256 of `content` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Return what a file says of its plan, and the plan. Raises ValueError saying what is wrong."""
    if not content.startswith(PLAN_MAGIC):
        raise ValueError("it does not begin as a plan of this program does" if content else "it is empty")
    line, _, body = content[len(PLAN_MAGIC) :].partition(b"\n")
    try:
        head: dict[str, Any] = json.loads(line)
        PlanKey(**head["key"])
        complete = {"precision", "seconds", "sha256"} <= set(head)
    except (ValueError, KeyError, TypeError):
        complete = False
    if not complete:
        raise ValueError("its header cannot be read")
    return head, body
