"""open_source(): what --camera and --source mean."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from app.errors import SourceError
from app.pipeline.protocols import Source
from app.sources import open_source, v4l2
from scripts.kiosk.fake_camera import FakeCamera, FakeDevDir
from tests.support.clips import encode, numbers, picture


def named(source: str, *, loop: bool = False, fps: float | None = None) -> Source:
    return open_source(camera=None, source=source, size=None, fps=fps, loop=loop)


def test_demo_honours_size_and_rate() -> None:
    source = open_source(camera=None, source="demo", size=(80, 60), fps=12.5, loop=False)
    assert (source.name, source.fps, source.live) == ("demo", 12.5, True)
    assert next(iter(source)).size == (80, 60)


@pytest.mark.integration
def test_files_folders_patterns_and_stills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode(tmp_path / "clip.mkv", 5)
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"p{i}.png"), picture(i))
    assert numbers(named(str(tmp_path / "clip.mkv"))) == list(range(5))
    assert numbers(named(f"file://{tmp_path}/clip.mkv")) == list(range(5))
    assert numbers(named(str(tmp_path))) == [0, 1, 2]
    assert numbers(named(str(tmp_path / "p[12].png"), fps=5)) == [1, 2]
    assert numbers(named(str(tmp_path / "p2.png"))) == [2]
    monkeypatch.chdir(tmp_path)
    assert numbers(named("clip.mkv")) == list(range(5))
    (tmp_path / "clip.mkv").rename("clip:10.mkv")  # not a protocol called clip
    assert numbers(named("clip:10.mkv")) == list(range(5))
    (tmp_path / "clip:10.mkv").rename("clip.mkv")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert numbers(named("~/clip.mkv")) == list(range(5))
    (tmp_path / "clip.mkv").rename("~clip one.mkv")  # nobody's own folder
    assert numbers(named("~clip one.mkv")) == numbers(named(f"file://localhost{tmp_path}/%7Eclip%20one.mkv"))
    with pytest.raises(SourceError, match="no file") as error:
        named("demoo")
    assert "demo" in error.value.fix


@pytest.mark.integration
def test_a_name_with_brackets_is_a_name(tmp_path: Path) -> None:
    encode(tmp_path / "clip [1].mkv", 2)
    assert numbers(named(str(tmp_path / "clip [1].mkv"))) == [0, 1]


def test_unknown_schemes_and_both_are_refused() -> None:
    with pytest.raises(SourceError, match="not a kind of source") as error:
        named("rstp://admin:secret@10.0.0.1/x")
    assert "rtsp" in error.value.fix and "secret" not in str(error.value) and "10.0.0.1/x" in str(error.value)
    with pytest.raises(SourceError, match="not a kind") as error:
        named("gopher://x")
    assert "demo" in error.value.fix
    with pytest.raises(SourceError, match="Both"):
        open_source(camera=0, source="demo", size=None, fps=None, loop=False)


def test_what_the_system_says_of_a_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be opened") as error:
        named("a" * 300)
    assert "File name too long" in error.value.facts
    (tmp_path / "round.mkv").symlink_to(tmp_path / "round.mkv")
    with pytest.raises(SourceError):
        named(str(tmp_path / "round.mkv"))


def test_streams_are_opened_as_streams() -> None:
    with pytest.raises(SourceError, match="refuses the connection"):
        named("HTTP://127.0.0.1:1/")
    with pytest.raises(SourceError, match="refuses the connection"):
        named("rtsp://127.0.0.1:1/x")


def test_without_a_camera_it_is_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(v4l2, "DEV", tmp_path)
    assert open_source(camera=None, source=None, size=(64, 48), fps=None, loop=False).name == "demo"
    assert "No camera was found" in caplog.text


def test_the_first_camera_or_the_one_that_is_named(dev: FakeDevDir) -> None:
    first, second = dev.plug(0), dev.plug(10)

    def opened(camera: int | str | None) -> str:
        source = open_source(camera=camera, source=None, size=None, fps=None, loop=False)
        source.close()
        return source.name

    assert opened(None) == f"camera {first}"
    assert opened(10) == opened("10") == f"camera {second}"
    assert opened(str(second)) == f"camera {second}"


def test_pipelines_reach_gstreamer(dev: FakeDevDir, monkeypatch: pytest.MonkeyPatch) -> None:
    (dev.folder / "gstreamer").write_text("ok")
    monkeypatch.setattr(cv2, "getBuildInformation", lambda: "GStreamer: YES (1.20)")
    assert named("csi:1").name == "camera csi:1"
    assert "sensor-id=1" in FakeCamera.last.arguments[0]
    named("gst: videotestsrc")
    assert FakeCamera.last.arguments[0].startswith("videotestsrc ! ")


@pytest.mark.integration
def test_only_what_is_chosen_is_imported() -> None:
    script = (
        "import sys; from app.sources import open_source\n"
        "assert not {'cv2', 'av', 'linuxpy'} & set(sys.modules), 'too early'\n"
        "open_source(camera=None, source='demo', size=(16, 16), fps=None, loop=False)\n"
        "assert not {'av', 'linuxpy'} & set(sys.modules), 'too much'\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, cwd=Path(__file__).parents[3])
