"""Which recordings are deleted, and which are let alone."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from app.sinks.recording import retention
from app.sinks.recording.retention import RetentionPolicy
from tests.support.recordings import frames, open_elsewhere, segments, started

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("written", [0, 2**31 - 1])
def test_the_quota_deletes_the_oldest(tmp_path: Path, written: int) -> None:
    """Also if the clock was wrong when it was recorded, and has jumped back since."""
    (tmp_path / "holiday.mp4").write_bytes(b"mine" * 1000)
    old = tmp_path / "20200101-000000.mp4"
    old.write_bytes(bytes(400_000))
    os.utime(old, (written, written))
    with started(tmp_path, segment=None, segment_mb=0.3, quota_gb=0.0015) as camera:
        camera.until(lambda: camera.sink.segments >= 6)
        camera.until(lambda: sum(path.stat().st_size for path in segments(tmp_path)) <= 2.5e6)
    assert not old.exists()
    assert (tmp_path / "holiday.mp4").exists()
    assert all(frames(path) for path in segments(tmp_path))


@pytest.mark.parametrize("kind", ["link", "broken link", "folder"])
def test_what_only_looks_like_a_segment_hinders_neither_quota_nor_segments(tmp_path: Path, kind: str) -> None:
    odd, old = tmp_path / "20200101-000000.mp4", tmp_path / "20200101-000001.mp4"
    if kind == "folder":
        odd.mkdir()
    else:
        odd.symlink_to(__file__ if kind == "link" else "/nowhere")
    old.write_bytes(bytes(400_000))
    with started(tmp_path, segment=1, quota_gb=0.0001) as camera:
        camera.until(lambda: camera.sink.segments >= 3)
        camera.until(lambda: not old.exists())
        assert not camera.sink.problem
    assert odd.is_symlink() or odd.is_dir()


def test_a_segment_that_cannot_be_deleted_is_told_once_and_the_next_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"20200101-00000{number}.mp4" for number in range(3)]
    for name in names:
        (tmp_path / name).write_bytes(bytes(1000))
    unlink, lstat = Path.unlink, Path.lstat

    def refused(self: Path, *args: Any, **kwargs: Any) -> None:
        if self.name == names[0]:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        unlink(self, *args, **kwargs)

    def strange(self: Path) -> os.stat_result:
        if self.name == names[1]:
            raise OSError(errno.EIO, "Input/output error")
        return lstat(self)

    monkeypatch.setattr(Path, "unlink", refused)
    monkeypatch.setattr(Path, "lstat", strange)
    kept = RetentionPolicy(tmp_path, 0.5e-6)
    for _ in range(3):
        kept.keep(None)
    assert {path.name for path in tmp_path.iterdir()} == set(names[:2])
    assert [names[0] in line or names[1] in line for line in caplog.messages] == [True, True], caplog.messages


@pytest.mark.parametrize(("share", "left"), [(1e9, 2), (1e-9, 3)])
def test_a_folder_that_takes_long_to_look_through_is_looked_through_less_often(
    tmp_path: Path, share: float, left: int
) -> None:
    for second in range(2):
        (tmp_path / f"20200101-00000{second}.mp4").write_bytes(bytes(1000))
    kept = RetentionPolicy(tmp_path, 2e-6, max_share=share, quiet_s=-1.0)
    kept.keep(None)
    (tmp_path / "20200101-000002.mp4").write_bytes(bytes(1000))
    kept.keep(None)
    assert len(list(tmp_path.iterdir())) == left


def test_the_quota_lets_alone_what_another_program_is_recording(tmp_path: Path) -> None:
    theirs = tmp_path / "20200101-000000.mp4"
    with open_elsewhere(theirs, 2_000_000):
        with started(tmp_path, segment=1, quota_gb=0.001) as camera:
            camera.until(lambda: camera.sink.segments >= 3)
        assert theirs.stat().st_size > 2_000_000
    RetentionPolicy(tmp_path, 0.001).keep(None)
    assert not theirs.exists(), "now it is nobody's"


def test_where_files_have_no_locks_what_was_written_just_now_is_let_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "lock", lambda *_, **__: False)
    old, new = tmp_path / "20200101-000000.mp4", tmp_path / "20200101-000001.mp4"
    for path in (old, new):
        path.write_bytes(bytes(1000))
    os.utime(old, (1e9, 1e9))
    RetentionPolicy(tmp_path, 1e-9).keep(None)
    assert not old.exists() and new.exists()
