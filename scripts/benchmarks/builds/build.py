"""Find another build of the program and a Python environment that runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from platformdirs import user_cache_path

from engines.errors import UserError
from scripts.benchmarks.measured_child import ChildError, Usage, measure_child
from scripts.benchmarks.timing import APP_START_TIMEOUT_S
from scripts.common.checkout import ROOT
from scripts.common.machine import REPORTED_PACKAGES

SHARED_ENVIRONMENT = "the environment that runs this script"
OWN_ENVIRONMENT = "an environment of its own, .venv"
INSTALL_LIMIT_S = 1800.0

PRINT_FACTS = """
import importlib.metadata, json, platform, sys
import app
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps({"app": app.__file__, "versions": found}))
"""
"""Run by another build's Python: which code it imports and with which libraries."""

PRINT_REQUIREMENTS = """
import json, runpy, sys, types
stand_in = types.ModuleType("setuptools")
stand_in.find_packages = lambda *_, **__: []
stand_in.setup = lambda **options: print(json.dumps(options.get("install_requires", [])))
sys.modules["setuptools"] = stand_in  # Python 3.12 and later bring none along, and nothing is to be built
runpy.run_path("setup.py")
"""


class BuildError(UserError):
    """There is no such build, or it cannot be made to run."""


@dataclass(frozen=True)
class Build:
    """A source tree and the Python that runs it."""

    name: str
    """What the table calls it."""
    folder: Path
    revision: str
    """Of git, with "-dirty" where files were changed since; "" where git does not know."""
    python: Path
    environment: str
    """Which environment that Python is of, for people."""
    versions: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, cache: Path | None = None, limit_s: float = 0.0) -> Usage:
        """Run this build's Python with `arguments`, its own code first on the path.

        `cache` is where it keeps what it compiles, None the user's own folder; the process may take `limit_s` seconds
        beyond APP_START_TIMEOUT_S. Raises ChildError.
        """
        environment = os.environ | {"PYTHONPATH": str(self.folder)}
        if cache is not None:
            environment["XDG_CACHE_HOME"] = str(cache)
        return measure_child(
            [str(self.python), *arguments],
            name=f"The build {self.name}",
            cwd=self.folder,
            environment=environment,
            limit_s=APP_START_TIMEOUT_S + limit_s,
        )

    def has_model(self, name: str) -> bool:
        """Tell whether this build ships a model of that name (fast, fast-x2, fast-x2-fp32), or it is a file."""
        models = self.folder / "engines/models"
        exact = models / f"{name.removesuffix('-fp32')}.onnx"
        return Path(name).is_file() or exact.is_file() or any(models.glob(f"{name}-x*.onnx"))


def this_build() -> Build:
    """Describe the build that this file belongs to. Raises BuildError."""
    return _checked(Build("this build", ROOT, _described(ROOT), Path(sys.executable), SHARED_ENVIRONMENT))


def find_build(wanted: str, repository: Path = ROOT) -> Build:
    """Return the build that `wanted` names: a folder with a checkout in it, or a git ref of `repository`.

    A ref is unpacked once into the user's cache folder. Raises BuildError.
    """
    folder = Path(wanted)
    if _is_checkout(folder):
        return _prepared(folder.resolve().name, folder.resolve(), _described(folder))
    try:
        commit = _git(repository, "rev-parse", "--verify", "--end-of-options", f"{wanted}^{{commit}}").decode().strip()
    except BuildError as error:
        if folder.is_dir():
            raise BuildError(
                f"{wanted} is not a checkout of this program",
                "The folder has no app/run.py.",
                "Name a folder that holds app/, engines/ and scripts/, or a git ref.",
            ) from None
        raise BuildError(
            f"There is no build {wanted}",
            f"No such folder; git: {error.facts}",
            "`git log --oneline` and `git tag` list what exists; `git fetch` gets more.",
        ) from None
    return _prepared(wanted, _unpacked(repository, commit), commit[:12])


def satisfied(requirements: Sequence[str]) -> bool:
    """Return whether this Python's environment has all of `requirements`, without asking a package index."""
    install = ["install", "--dry-run", "--no-index", "--no-deps", "--quiet", "--disable-pip-version-check"]
    return not requirements or _succeeds([sys.executable, "-m", "pip", *install, *requirements])


def _is_checkout(folder: Path) -> bool:
    return (folder / "app/run.py").is_file()


def _prepared(name: str, folder: Path, revision: str) -> Build:
    """The build with a Python: this one if it has what the build requires, else the one its own script sets up."""
    done = subprocess.run([sys.executable, "-c", PRINT_REQUIREMENTS], cwd=folder, capture_output=True, text=True)
    if done.returncode == 0 and satisfied(json.loads(done.stdout.splitlines()[-1])):
        return _checked(Build(name, folder, revision, Path(sys.executable), SHARED_ENVIRONMENT))
    print(f"{name} requires other libraries than this build has: setting up {folder}/.venv", file=sys.stderr)
    try:
        measure_child(
            ["./scripts/run", "--list"],
            name=f"Setting up the build {name}",
            cwd=folder,
            environment=os.environ | {"PYTHON": sys.executable},
            limit_s=INSTALL_LIMIT_S,
        )
    except OSError as error:
        raise BuildError(
            f"The build {name} cannot be set up", f"{folder}/scripts/run: {error.strerror}", "Name another build."
        ) from None
    return _checked(Build(name, folder, revision, folder / ".venv/bin/python", OWN_ENVIRONMENT))


def _checked(build: Build) -> Build:
    """Return the build with the versions of its libraries.

    Raises BuildError if its Python would run other code.
    """
    try:
        facts = json.loads(build.run("-c", PRINT_FACTS, *REPORTED_PACKAGES).output.splitlines()[-1])
    except ChildError as error:
        raise BuildError(f"The build {build.name} does not start", error.facts, error.fix) from None
    if not Path(facts["app"]).resolve().is_relative_to(build.folder.resolve()):
        raise BuildError(
            f"The build {build.name} would not run its own code",
            f"`import app` in {build.folder} finds {facts['app']}",
            "Remove what puts another build first on Python's path, such as a .pth file.",
        )
    return replace(build, versions=facts["versions"])


def _unpacked(repository: Path, commit: str) -> Path:
    """Return the folder with the files of `commit`, which is complete or does not exist.

    Raises BuildError.
    """
    builds = user_cache_path("livesr") / "builds"
    folder = builds / commit
    if folder.is_dir():
        return folder
    archive = _git(repository, "archive", "--format=tar", commit)
    try:
        builds.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=builds) as unfinished:
            tree = Path(unfinished, "tree")
            tree.mkdir()
            subprocess.run(["tar", "-x", "-C", str(tree)], input=archive, capture_output=True, check=True)
            if not _is_checkout(tree):
                raise BuildError(
                    f"The commit {commit[:12]} is not a build of this program",
                    "It has no app/run.py.",
                    "Name a later commit.",
                )
            tree.rename(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        if not folder.is_dir():  # else another run was quicker
            raise BuildError(
                f"The commit {commit[:12]} cannot be unpacked into {builds}",
                str(error),
                "Make room there, or name another folder: XDG_CACHE_HOME=FOLDER.",
            ) from None
    return folder


def _described(folder: Path) -> str:
    if not (folder / ".git").exists():  # git would describe the repository that the folder happens to lie in
        return ""
    try:
        return _git(folder, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").decode().strip()
    except BuildError:
        return ""


def _git(folder: Path, *arguments: str) -> bytes:
    """Return what git prints. Raises BuildError with the last line of its errors."""
    try:
        return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=True).stdout
    except FileNotFoundError:
        raise BuildError("git has failed", "It is not installed.", "Install it, or name a folder.") from None
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip().splitlines()
        raise BuildError("git has failed", words[-1] if words else f"It ended with {error.returncode}.", "") from None


def _succeeds(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True).returncode == 0
