"""Files that are written whole or not at all, and what lies where one is to be written."""

from __future__ import annotations

import os
import select
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from engines.support import atomic_file

ROOT = Path(__file__).parents[3]


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("new/figures.json")
    atomic_file.check(tmp_path / "link")
    for data in (b"one", b"two"):
        atomic_file.write_atomic(tmp_path / "link", data, parents=True)
        assert (tmp_path / "link").is_symlink()
        assert (tmp_path / "new/figures.json").read_bytes() == data
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["figures.json"]


def test_a_pipe_gets_the_data_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    atomic_file.check(pipe)
    with pytest.raises(OSError, match="No such device or address"):
        atomic_file.write_atomic(pipe, b"nobody reads this")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # so that write() finds somebody at the other end
    os.set_blocking(reader, True)

    def read() -> None:
        with os.fdopen(reader, "rb") as file:
            got.append(file.read())

    thread = threading.Thread(target=read, daemon=True)
    atomic_file.write_atomic(pipe, b"figures")
    thread.start()
    thread.join(10)
    assert got == [b"figures"]
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"] and stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_pipe_that_is_not_read_on_is_waited_for_no_longer_than_its_reader_may_take(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    raised = list[BaseException]()

    def write() -> None:
        try:
            atomic_file.write_atomic(tmp_path / "pipe", bytes(2 << 20), pipe_timeout=0.1)
        except OSError as error:
            raised.append(error)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    thread.join(20)
    os.close(reader)
    assert len(raised) == 1 and isinstance(raised[0], TimeoutError) and "nobody has read" in str(raised[0])


@pytest.mark.integration
def test_a_file_that_is_the_standard_output_is_written_on(tmp_path: Path) -> None:
    (tmp_path / "all.json").write_text("the first\n")
    code = (
        "from pathlib import Path; from engines.support import atomic_file\n"
        "atomic_file.write_atomic(Path('/dev/stdout'), b'the second')"
    )
    with (tmp_path / "all.json").open("a") as file:
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=file, timeout=30, check=True)
    assert (tmp_path / "all.json").read_text() == "the first\nthe second"


def test_a_device_stays_one(tmp_path: Path) -> None:
    """By a link in a folder where anything could be replaced, as /dev can be by root."""
    leader, follower = os.openpty()
    try:
        (tmp_path / "terminal").symlink_to(os.ttyname(follower))
        atomic_file.check(tmp_path / "terminal")
        atomic_file.write_atomic(tmp_path / "terminal", b"figures")
        assert select.select([leader], [], [], 10)[0] and os.read(leader, 100) == b"figures"
        assert stat.S_ISCHR((tmp_path / "terminal").stat().st_mode)
    finally:
        os.close(leader)
        os.close(follower)


@pytest.mark.integration
def test_the_figures_may_go_to_the_standard_output(tmp_path: Path) -> None:
    (tmp_path / "stdout").symlink_to("/proc/self/fd/1")  # as /dev/stdout is; here it may be lost
    code = (
        "import sys; from pathlib import Path; from engines.support import atomic_file\n"
        "atomic_file.check(Path(sys.argv[1])); atomic_file.write_atomic(Path(sys.argv[1]), b'figures')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "stdout")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, "figures"), done.stderr
    assert (tmp_path / "stdout").readlink() == Path("/proc/self/fd/1")


def test_a_check_touches_nothing_of_anybodys(tmp_path: Path) -> None:
    for name in ("figures.json.part", "figures.json"):
        (tmp_path / name).write_text("precious")
    atomic_file.check(tmp_path / "figures.json")
    atomic_file.check(tmp_path / "new" / "deep" / "figures.json")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "figures.json": "precious",
        "figures.json.part": "precious",
    }


def test_what_passes_the_check_can_be_written(tmp_path: Path) -> None:
    longest = tmp_path / "new" / ("a" * 255)
    atomic_file.check(longest)
    with pytest.raises(FileNotFoundError):
        atomic_file.write_atomic(longest, b"figures")
    atomic_file.write_atomic(longest, b"figures", parents=True)
    assert longest.read_bytes() == b"figures"
    for bad in (tmp_path / ("a" * 256), tmp_path / ("a" * 256) / "figures", longest / "figures", tmp_path):
        with pytest.raises(OSError):
            atomic_file.check(bad)
        with pytest.raises(OSError):
            atomic_file.write_atomic(bad, b"figures", parents=True)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert list((tmp_path / "new").iterdir()) == [longest]
