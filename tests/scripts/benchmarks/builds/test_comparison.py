"""bench.py --against: which build is found, how it is driven, what is said when it fails."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from engines.errors import UserError
from scripts.bench import main
from scripts.benchmarks.builds import driver
from scripts.benchmarks.builds.build import OWN_ENVIRONMENT, SHARED_ENVIRONMENT, BuildError, find_build, satisfied
from scripts.benchmarks.builds.comparison import BuildComparison, ComparedQuantity
from scripts.benchmarks.builds.driver import ComparisonSettings, Quantity
from scripts.benchmarks.measured_child import ChildError, measure_child
from scripts.common.checkout import ROOT

pytestmark = pytest.mark.integration

TINY = ["--size", "32x24", "--threads", "1", "--seconds", "0.1", "--engine", "bicubic"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A copy of this build without scripts/, and with the models of fast-x2 alone."""
    folder = tmp_path / "other"
    for package in ("app", "engines"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "*.onnx"))
    for model in (ROOT / "engines/models").glob("fast-x2*.onnx"):
        shutil.copy(model, folder / "engines/models")
    for file in ("setup.py", "README.md"):
        shutil.copy(ROOT / file, folder)
    return folder


def git(folder: Path, *arguments: str) -> None:
    somebody = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *somebody, *arguments], check=True, capture_output=True)


@pytest.mark.timeout(600)
def test_a_build_is_compared_with_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "against.json"
    models = ["--model", "fast-x2-int8", "--model", "missing-x2"]
    assert main([*TINY, "--against", str(ROOT), "--rounds", "1", *models, "--json", str(file)]) == 0
    result = json.loads(file.read_text())
    compared = {each["name"]: each for each in result["comparisons"]}
    assert list(compared) == [quantity.name for quantity in driver.QUANTITIES]
    for each in compared.values():
        assert each["model"] == "fast-x2-int8" and len(each["this"]) == len(each["other"]) == 1
        assert all(value > 0 for value in each["this"] + each["other"])
        assert each["ratio"]["min"] <= each["ratio"]["median"] <= each["ratio"]["max"]
    best, median = compared[driver.ENGINE_BEST.name], compared[driver.ENGINE_MEDIAN.name]
    assert all(quick <= usual for quick, usual in zip(best["this"], median["this"], strict=True))
    # Two processes of one and the same build: the most memory that they have is the same but for some MiB.
    assert compared[driver.PEAK_MEMORY.name]["ratio"]["median"] == pytest.approx(1, abs=0.2)
    assert result["builds"]["other"]["folder"] == str(ROOT) and result["builds"]["this"]["versions"]["openvino"]
    assert result["notes"] == [f"missing-x2: not compared, as it is missing from this build and {ROOT.name}"]
    shown = capsys.readouterr().out
    assert result["machine"]["processor"] in shown and "openvino 20" in shown and "min .. max" in shown
    assert all(name in shown for name in compared) and "missing-x2: not compared" in shown


@pytest.mark.timeout(600)
def test_without_a_bench_the_engine_is_timed_inside_the_app(other: Path) -> None:
    shutil.copy(other / "engines/models/fast-x2.onnx", other / "engines/models/extra-x2.onnx")
    models = ("fast-x3", "extra", "fast-x2-fp32")
    compared = BuildComparison(
        ComparisonSettings(str(other), models, ("engine",), (32, 24), seconds=0.1, rounds=1, engine="bicubic")
    )  # fmt: skip
    compared.run()
    assert [(each.model, each.quantity) for each in compared.measured] == [("fast-x2-fp32", driver.ENGINE_MEDIAN)]
    assert "the time inside the app" in compared.notes[0]
    assert compared.notes[1:] == [
        "fast-x3: not compared, as it is missing from other",
        "extra: not compared, as it is missing from this build",
    ]
    compared.load = [0.0, 0.0]
    assert "busy with other work" not in compared.table()
    compared.load = [0.0, 1000.0]
    table = compared.table()
    assert "busy with other work" in table
    assert driver.ENGINE_MEDIAN.name in table and driver.ENGINE_BEST.name not in table and compared.notes[0] in table


def test_a_build_that_fails_is_told_with_its_last_words(other: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (other / "app/run.py").write_text(
        "import sys\nprint('about to fail', flush=True)\nsys.exit('the lens is missing')\n"
    )
    assert main([*TINY, "--against", str(other), "--only", "start"]) == 2
    told = capsys.readouterr()
    problem, *facts, fix = told.err.splitlines()
    assert problem == "The build other has failed"
    assert [line.strip() for line in facts[1:]] == ["about to fail", "the lens is missing"]
    assert f"cd {other} && PYTHONPATH=. " in fix and "-m app.run" in fix
    assert told.out == ""


def test_a_build_whose_figures_have_another_form_is_told(other: Path) -> None:
    writes = "import pathlib, sys\npathlib.Path(sys.argv[sys.argv.index('--stats') + 1]).write_text('{\"fps\": 1}')\n"
    (other / "app/run.py").write_text(writes)
    compared = BuildComparison(
        ComparisonSettings(str(other), size=(32, 24), parts=("app",), seconds=0.1, engine="bicubic")
    )
    with pytest.raises(BuildError, match="other does not report") as told:
        compared.run()
    assert told.value.facts == "Its --stats has no fps_out." and compared.measured == []


def test_a_build_that_does_not_start_is_told(other: Path) -> None:
    (other / "app/__init__.py").write_text("import no_such_library\n")
    with pytest.raises(BuildError, match="The build other does not start") as told:
        find_build(str(other))
    assert "no_such_library" in told.value.facts


def test_no_such_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--against", "no-such-ref"]) == 2
    problem, facts, fix = capsys.readouterr().err.splitlines()
    assert problem == "There is no build no-such-ref" and "No such folder; git: fatal" in facts and "git log" in fix
    assert main(["--against", str(tmp_path)]) == 2
    problem, facts, _ = capsys.readouterr().err.splitlines()
    assert problem == f"{tmp_path} is not a checkout of this program" and "no app/run.py" in facts


def test_a_ref_is_unpacked_once(other: Path) -> None:
    git(other, "init", "-q")
    git(other, "add", ".")
    git(other, "commit", "-qm", "a build")
    git(other, "tag", "v1")
    (other / "app/run.py").unlink()
    git(other, "commit", "-qam", "no build")
    build = find_build("v1", other)
    assert (
        build.name == "v1" and (build.folder / "app/run.py").is_file() and build.folder.name.startswith(build.revision)
    )
    assert build.environment == SHARED_ENVIRONMENT and build.python == Path(sys.executable)
    (build.folder / "kept").touch()
    assert (find_build("v1", other).folder / "kept").exists()
    with pytest.raises(BuildError, match="is not a build of this program"):
        find_build("HEAD", other)
    assert [path.name for path in build.folder.parent.iterdir()] == [build.folder.name]  # nothing half unpacked


def test_the_code_of_another_build_is_not_taken_for_its_own(tmp_path: Path) -> None:
    (tmp_path / "app").symlink_to(ROOT / "app")
    shutil.copy(ROOT / "setup.py", tmp_path)
    shutil.copy(ROOT / "README.md", tmp_path)
    with pytest.raises(BuildError, match="would not run its own code"):
        find_build(str(tmp_path))


def test_requirements_are_held_against_what_is_installed() -> None:
    assert satisfied([]) and satisfied(["numpy>=1", "nothing-at-all>=1; python_version < '3'"])
    assert not satisfied(["numpy>=1", "numpy>=9999"])


def test_a_build_with_other_requirements_sets_up_its_own_environment(
    other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (other / "setup.py").write_text("from setuptools import setup\nsetup(install_requires=['numpy>=9999'])\n")
    with pytest.raises(BuildError, match="cannot be set up") as missing:
        find_build(str(other))
    assert "scripts/run: No such file" in missing.value.facts
    script = other / "scripts/run"
    script.parent.mkdir()
    script.write_text('#!/bin/sh\n"$PYTHON" -m venv --without-pip .venv\n')
    script.chmod(0o755)
    build = find_build(str(other))
    assert build.environment == OWN_ENVIRONMENT and build.python == other / ".venv/bin/python"
    assert list(build.versions) == ["python"]  # nothing of this build's environment is seen there
    script.write_text("#!/bin/sh\necho the machine is offline\nexit 3\n")
    with pytest.raises(ChildError, match="Setting up the build other has failed") as told:
        find_build(str(other))
    assert "It ended with 3" in told.value.facts and "the machine is offline" in told.value.facts
    assert "requires other libraries" in capsys.readouterr().err


def test_what_a_command_took_is_measured(tmp_path: Path) -> None:
    code = """
import sys, time
kept = bytes([1]) * (80 << 20)
while time.process_time() < 0.3: pass
time.sleep(0.3)
print("out"); print("error", file=sys.stderr)
"""
    used = measure_child([sys.executable, "-c", code], name="It", cwd=tmp_path, limit_s=100)
    assert used.wall_s > 0.6 and 0.3 <= used.cpu_s < used.wall_s
    if Path("/proc/self/status").exists():
        assert 80 < used.peak_memory_mib < 120  # not what this process has
    assert sorted(used.output.split()) == ["error", "out"]


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(ChildError, match="It has failed") as told:
        measure_child(["sh", "-c", "sleep 1000 & echo $!; wait"], name="It", cwd=tmp_path, limit_s=3)
    ended, child = told.value.facts.splitlines()
    assert "all it may take: 3 s" in ended
    until = time.monotonic() + 60
    while psutil.pid_exists(int(child)) and psutil.Process(int(child)).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_ratios_say_how_much_better_this_build_is() -> None:
    less = ComparedQuantity("m", Quantity("engine", "time", "ms"), this=[2.0, 4.0, 1.0], other=[3.0, 4.0, 2.0])
    assert less.ratios == [1.5, 1.0, 2.0] and less.best_ratio == 2.0
    assert less.as_dict()["ratio"] == {"median": 1.5, "min": 1.0, "max": 2.0, "of_bests": 2.0}
    more = ComparedQuantity("m", Quantity("app", "rate", "fps", more_is_better=True), this=[30.0, 10.0], other=[20.0])
    assert more.ratios == [1.5] and more.best_ratio == 1.5  # the second round was broken off
    assert str(more).split() == ["rate", "20.00", "20.00", "fps", "1.500", "1.500", "..", "1.500", "1.500"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--against", "HEAD", "--fleet", "2"], "--against cannot be combined with --fleet"),
        (["--against", "HEAD", "--only", "engine", "latency"], "--against compares engine, app, start, memory"),
        (["--model", "fast", "--model", "quality"], "several --model need --against"),
        (["--against", "HEAD", "--rounds", "0"], "--rounds: it must be a whole number of at least 1, not 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and told in capsys.readouterr().err


def test_where_the_figures_cannot_be_written_no_build_is_sought(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["--against", "no-such-ref", "--json", str(tmp_path / "file/against.json")]) == 2
    assert "against.json cannot be written" in capsys.readouterr().err


def test_errors_have_three_parts(tmp_path: Path) -> None:
    for wanted in ("no-such-ref", str(tmp_path), "--output=x"):
        with pytest.raises(UserError) as told:
            find_build(wanted)
        assert all(told.value.parts), wanted
