"""What is for a Jetson and cannot run here: the container's files, the power modes, the predictions."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from app import report
from app.config.command_line import parse
from app.config.validation import from_mapping
from app.config.yaml_file import read_yaml

ROOT = Path(__file__).parents[2]

CONF = """
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online

# < POWER_MODEL ID=9 NAME=GHOST >
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< PM_CONFIG DEFAULT=1 >
"""

NVPMODEL = """#!/bin/sh
if [ "$1" = -q ]; then printf 'NV Power Mode: 25W\\n1\\n'; else echo "$@"; fi
"""


@pytest.fixture
def board(tmp_path: Path) -> dict[str, str]:
    """The environment of a board with three modes."""
    (tmp_path / "nvpmodel.conf").write_text(CONF)
    (tmp_path / "nvpmodel").write_text(NVPMODEL)
    (tmp_path / "nvpmodel").chmod(0o755)
    return {"NVPMODEL_CONF": str(tmp_path / "nvpmodel.conf"), "PATH": f"{tmp_path}:/usr/bin:/bin"}


def power_mode(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "scripts" / "power_mode"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)


@pytest.mark.integration
def test_a_power_mode_is_chosen_by_its_name(board: dict[str, str]) -> None:
    assert power_mode(board).stdout.split("\n") == ["now: 25W", "15W", "25W", "MAXN_SUPER", ""]
    assert power_mode(board, "MAXN_SUPER").stdout == "-m 2\n"
    assert power_mode(board, "maxn_super").stdout == "-m 2\n"
    assert power_mode(board, "MAXN*").stdout == "-m 2\n"
    assert power_mode(board, "--id", "25W").stdout == "1 25W\n"
    wrong = power_mode(board, "GHOST")
    assert wrong.returncode == 2 and "It has: 15W 25W MAXN_SUPER" in wrong.stderr


@pytest.mark.integration
def test_a_power_mode_that_is_not_named_and_one_that_nothing_can_set(board: dict[str, str], tmp_path: Path) -> None:
    for arguments in (["--id"], ["15W", "25W"]):
        wrong = power_mode(board, *arguments)
        assert wrong.returncode == 2 and wrong.stderr.startswith("Which one?") and not wrong.stdout
    (tmp_path / "nvpmodel").unlink()
    alone = power_mode(board, "15W")
    assert alone.returncode == 1 and alone.stderr.startswith("There is no nvpmodel")
    helped = power_mode({"PATH": board["PATH"]}, "--help")
    assert helped.returncode == 0 and "scripts/power_mode --id NAME" in helped.stdout


@pytest.mark.integration
def test_no_power_modes_elsewhere(tmp_path: Path) -> None:
    done = power_mode({"NVPMODEL_CONF": str(tmp_path / "none"), "PATH": "/usr/bin:/bin"})
    assert done.returncode == 1 and "this is not a Jetson" in done.stderr


def test_the_compose_file_fits_the_dockerfile_and_the_program() -> None:
    service = yaml.safe_load((ROOT / "configs" / "kiosk.compose.yaml").read_text())["services"]["kiosk"]
    docker = (ROOT / "Dockerfile.l4t").read_text()
    assert (ROOT / "configs" / service["build"]["context"] / service["build"]["dockerfile"]).samefile(
        ROOT / "Dockerfile.l4t"
    )
    assert service["build"]["args"]["BASE"].removeprefix("${BASE:-").rstrip("}") in docker
    parse(service["command"])  # as the program itself would
    from_mapping(read_yaml(ROOT / service["command"][1]), "kiosk")
    for volume in ("/home/kiosk/.cache", "/home/kiosk/recordings"):
        assert volume in docker and any(volume in one for one in service["volumes"])


def test_a_year_of_log_fills_no_disk() -> None:
    service = yaml.safe_load((ROOT / "configs" / "kiosk.compose.yaml").read_text())["services"]["kiosk"]
    assert service["logging"]["driver"] == "local"
    unit = (ROOT / "configs" / "livesr-kiosk.service").read_text()
    burst, minutes = (
        int(re.findall(rf"^{name}=(\d+)", unit, re.MULTILINE)[0])
        for name in ("LogRateLimitBurst", "LogRateLimitIntervalSec")
    )
    own = 60 * minutes / report.LOG_PERIOD_S
    assert 5 * own < burst < 20 * own


def test_the_dockerfile_installs_extras_that_exist() -> None:
    docker = (ROOT / "Dockerfile.l4t").read_text()
    extras = re.findall(r'-e "\.\[([\w,]+)\]"', docker)[0].split(",")
    setup = (ROOT / "setup.py").read_text()
    assert all(f'"{extra}": [' in setup for extra in extras)
    assert not re.search(r"pip install .*(?<!\[jetson,)tensorrt(?!\])", docker), "JetPack's TensorRT would be shadowed"


def test_the_predictions_in_the_documentation_are_those_of_the_script() -> None:
    pytest.importorskip("onnx")
    from scripts import roofline

    text = (ROOT / "docs" / "performance.md").read_text()
    assert text.split(roofline.TABLE_BEGIN)[1].split(roofline.TABLE_END)[0] == f"\n{roofline.table()}"
    rows = [line for line in roofline.table().splitlines() if line.startswith("| ") and "precision" not in line]
    assert rows and all(row.endswith("| *predicted* |") for row in rows)


@pytest.mark.integration
def test_the_predictions_go_into_a_page_that_has_a_place_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    from scripts import roofline

    page = tmp_path / "page.md"
    assert roofline.main(["--write", str(page)]) == 2
    assert f"{page} cannot be read" in capsys.readouterr().err
    page.write_text("nothing")
    assert roofline.main(["--write", str(page)]) == 2
    assert f"{page} has no markers" in capsys.readouterr().err and page.read_text() == "nothing"
    page.write_text(f"before\n{roofline.TABLE_BEGIN}\nold\n{roofline.TABLE_END}\nafter\n")
    assert roofline.main(["--write", str(page)]) == 0
    assert page.read_text() == f"before\n{roofline.TABLE_BEGIN}\n{roofline.table()}{roofline.TABLE_END}\nafter\n"


def test_a_prediction_by_hand() -> None:
    """One 3x3 convolution, 16 to 16 channels, fp16, limited by memory on a small board."""
    pytest.importorskip("onnx")
    from scripts import roofline
    from scripts.roofline import Board, Convolution

    board = Board("made up", fp16=10, bandwidth=100, source="")
    one = Convolution(2.0 * 9 * 16 * 16, 16, 16)
    assert board.peak("int8") == 2e13 and board.peak("fp32") == 5e12
    assert roofline.padded_channels(3, "fp16") == 16 and roofline.padded_channels(17, "int8") == 32
    pixels = 640 * 360
    assert pixels * one.operations / board.peak("fp16") == pytest.approx(0.106e-3, rel=0.01)
    assert pixels * 2 * 32 / 100e9 == pytest.approx(0.147e-3, rel=0.01)
