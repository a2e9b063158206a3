"""scripts/install_kiosk, in a root folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import ROOT

pytestmark = pytest.mark.e2e


def install(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """scripts/install_kiosk of a copy of the project, in a root folder of its own, with stand-ins for the system's."""
    folder, bin = root / "project", root / "bin"
    if not folder.exists():
        for part in ("scripts", "configs", "app", "engines"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / ".venv/bin").mkdir(parents=True)
        python = folder / ".venv/bin/python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        bin.mkdir()
        for name in ("systemctl", "nvpmodel", "unclutter", "apt-get"):
            (bin / name).write_text(f'#!/bin/sh\necho "$(basename "$0") $*" >>{root}/calls\n')
            (bin / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{bin}:{os.environ['PATH']}", "KIOSK_ROOT": str(root), "PYTHONPATH": ""}
    command = ["bash", str(folder / "scripts/install_kiosk"), *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=60)


MODES = """
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< POWER_MODEL ID=1 NAME=25W >
"""


def test_a_configuration_is_looked_for_where_the_command_is_given(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("input: {fps: 15}\n")
    done = install(tmp_path, "--dry-run", "--config", "mine.yaml")
    assert done.returncode == 0, done.stderr
    assert f"--config {tmp_path}/mine.yaml\n" in done.stdout


def test_install_shows_what_it_would_do(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nvpmodel.conf").write_text(MODES)
    assert "nvpmodel" not in install(tmp_path, "--dry-run").stdout  # the mode is whoever set it's
    done = install(tmp_path, "--dry-run", "--power", "maxn*")
    assert done.returncode == 0, done.stderr
    for part in ("nvpmodel -m 2", "Type=notify", "WatchdogSec=20", "BlankTime", "unclutter", "systemctl enable"):
        assert part in done.stdout
    assert not (tmp_path / "calls").exists() and not (tmp_path / "etc/systemd").exists()


def test_install_installs_and_removes(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nvpmodel.conf").write_text(MODES)
    done = install(tmp_path, "--power", "25W")
    assert done.returncode == 0, done.stderr
    unit = tmp_path / "etc/systemd/system/livesr-kiosk.service"
    text = unit.read_text()
    assert "@" not in text.partition("[Unit]")[2]
    assert f"ExecStart={tmp_path / 'project'}/.venv/bin/python -m app.run --config" in text
    calls = (tmp_path / "calls").read_text().splitlines()
    assert "systemctl enable livesr-kiosk.service" in calls
    assert calls[-1] == "nvpmodel -m 1", "it may restart the board"
    if shutil.which("systemd-analyze"):
        checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, timeout=60)
        wrong = [line for line in checked.stderr.splitlines() if "livesr-kiosk.service:" in line]
        assert not wrong, wrong
    (tmp_path / "bin/nvpmodel").write_text("#!/bin/sh\nexit 3\n")
    refused = install(tmp_path, "--power", "25W")
    assert refused.returncode == 2 and "everything else is installed" in refused.stderr and unit.exists()
    assert install(tmp_path, "--remove").returncode == 0
    assert not unit.exists()


def test_what_is_installed_goes_whatever_is_missing_of_it(tmp_path: Path) -> None:
    assert install(tmp_path).returncode == 0
    (tmp_path / "bin/systemctl").write_text('#!/bin/sh\n[ "$1" != disable ] || exec ls /no-such-unit\n')
    done = install(tmp_path, "--remove", "--config", "/none.yaml", "--user", "nobody-of-that-name")
    assert done.returncode == 0 and "no-such-unit" in done.stderr, done.stderr
    assert not [path for path in (tmp_path / "etc").rglob("*livesr-kiosk*") if path.is_file()]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--power", "NOPE"], "has no power mode NOPE"),
        (["--user", "nobody-of-that-name"], "no user"),
        (["--config", "/none.yaml"], "no configuration"),
        (["--config", "{tmp}/typo.yaml"], "no model called fsat"),
        (["--frob"], "no option --frob"),
    ],
)
def test_install_refuses_in_words(tmp_path: Path, arguments: list[str], told: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nvpmodel.conf").write_text(MODES)
    (tmp_path / "typo.yaml").write_text("engine: {model: fsat}\n")
    done = install(tmp_path, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == 2 and told in done.stderr, done.stderr + done.stdout
    assert not (tmp_path / "etc/systemd").exists()


def test_install_refuses_a_path_that_a_unit_cannot_name(tmp_path: Path) -> None:
    def refused(root: Path, path: Path, fix: str, *arguments: str) -> None:
        done = install(root, *arguments)
        assert done.returncode == 2 and str(path) in done.stderr, done.stderr + done.stdout
        assert fix in done.stderr.splitlines()[-1]
        assert not (root / "etc").exists() and not (root / "calls").exists()

    refused(tmp_path / "100%", tmp_path / "100%/project", "  Move the project")
    assert install(tmp_path / "100%", "--remove").returncode == 0, "one of before this was refused"
    root = tmp_path / "plain"
    for character in "&|\\ %@'é":
        config = tmp_path / f"a{character}b.yaml"
        shutil.copy(ROOT / "configs/kiosk.yaml", config)
        refused(root, config, "  --config", "--config", str(config))
    (root / "bin/getent").write_text(f"#!/bin/sh\necho 'guest:x:1000:1000::{tmp_path}/a guest:/bin/sh'\n")
    (root / "bin/getent").chmod(0o755)
    refused(root, tmp_path / "a guest", "  --user", "--user", "guest")
