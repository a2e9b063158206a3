"""Before and after, as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.errors import SinkError
from app.overlays.text_panel import TextPanel
from app.overlays.view_state import ViewState
from app.pipeline.frame import Frame, Origin, OutputFrame
from app.sinks.filenames import Filenames
from app.sinks.snapshot import Snapshot, side_by_side
from engines.base import Image
from engines.bicubic import enlarge

pytestmark = pytest.mark.media


def picture(level: int = 90, position: float = 0.0, origin: Origin = Origin.LIVE) -> OutputFrame:
    source = np.random.default_rng(0).integers(0, 256, (36, 64, 3), np.uint8)
    return OutputFrame(np.full((72, 128, 3), level, np.uint8), Frame(source, 0, 0, position, origin=origin))


def level(file: Path) -> int:
    """Of the right side of a saved picture."""
    saved = cv2.imread(str(file))
    assert saved is not None
    return int(saved[10, 200, 0])


def test_the_key_saves_both_sides(tmp_path: Path) -> None:
    snapshot, shown = Snapshot(tmp_path / "new", ViewState()), picture()
    snapshot.write(shown)
    snapshot.request()
    snapshot.request()  # twice in one frame is once
    snapshot.write(shown)
    shown.image.fill(0)  # the engine takes its buffer back
    snapshot.write(shown)
    snapshot.close()
    (file,) = (tmp_path / "new").iterdir()
    saved = cv2.imread(str(file))
    assert saved is not None
    assert saved.shape == (72, 256, 3)
    bicubic = enlarge(shown.input.image, np.empty((72, 128, 3), np.uint8))
    assert np.array_equal(saved[:40, :120], bicubic[:40, :120])
    assert (saved[:40, 130:] == 90).all()


def test_a_file_gets_the_first_picture_and_then_a_settled_one_and_is_announced_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    file = tmp_path / "out" / "a.png"
    snapshot = Snapshot(tmp_path, ViewState(), file=file)
    for index in range(50):
        snapshot.write(picture(10 + index, index / 30))
        if snapshot._worker:
            snapshot._worker.join(10)
    snapshot.close()
    saved = cv2.imread(str(file))
    assert saved is not None
    assert (saved[10, 200] == 10 + 30).all()
    assert [entry.name for entry in file.parent.iterdir()] == ["a.png"]
    assert caplog.messages == [f"saved before and after to {file}"]


def test_the_key_waits_for_no_picture_of_the_file(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path / "keys", ViewState(), file=tmp_path / "a.png")
    for number, position in enumerate((0.0, 0.03, 0.06)):
        if number == 1:
            snapshot.request()
        snapshot.write(picture(20 + number, position))
        snapshot.close()  # waits for the writing
    (file,) = (tmp_path / "keys").iterdir()
    assert (level(tmp_path / "a.png"), level(file)) == (20, 21)


def test_a_file_gets_what_the_source_sees_and_not_what_stands_in_for_it(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    snapshot = Snapshot(tmp_path, ViewState(), file=file)
    shown = [(20, 0.0, Origin.HELD), (21, 9.0, Origin.ATTRACT), (22, 10.0, Origin.LIVE), (23, 10.5, Origin.LIVE)]
    for number, position, origin in shown:
        snapshot.write(picture(number, position, origin))
        snapshot.close()
    assert level(file) == 22, "a webcam has its second to find its exposure"
    for number, position, origin in ((24, 11.2, Origin.HELD), (25, 11.5, Origin.LIVE)):
        snapshot.write(picture(number, position, origin))
        snapshot.close()
    assert level(file) == 25


def test_after_a_reload_a_file_gets_another_name(tmp_path: Path) -> None:
    filenames = Filenames()
    for number in range(2):
        snapshot = Snapshot(tmp_path, ViewState(), filenames, file=tmp_path / "a.png")
        snapshot.write(picture(20 + number))
        snapshot.close()
    assert (level(tmp_path / "a.png"), level(tmp_path / "a-2.png")) == (20, 21)


def test_a_short_run_has_its_first_picture(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path, ViewState(), file=tmp_path / "a.png")
    snapshot.write(picture())
    snapshot.close()
    assert (tmp_path / "a.png").stat().st_size > 100


def test_a_file_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="Cannot write"):
        Snapshot(tmp_path, ViewState(), file=tmp_path / "file" / "a.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(SinkError, match="Cannot write"):
        Snapshot(tmp_path, ViewState(), file=tmp_path / "folder.png")
    with pytest.raises(SinkError, match=r"\.png"):
        Snapshot(tmp_path, ViewState(), file=tmp_path / "a.jpg")


def test_a_picture_that_no_model_made_says_so_and_the_file_waits_for_one_that_has(tmp_path: Path) -> None:
    file, away = tmp_path / "a.png", [True]
    snapshot = Snapshot(tmp_path / "keys", ViewState(), file=file, interpolated=lambda: away[0])

    def write(level: int, position: float) -> None:
        snapshot.write(picture(level, position))
        if snapshot._worker:
            snapshot._worker.join(10)

    write(10, 0.0)
    assert level(file) == 10, "there is a picture at once, whatever made it"
    saved = cv2.imread(str(file))
    expected = side_by_side(picture(10).input.image, picture(10).image, interpolated=True)
    assert saved is not None and np.array_equal(saved, expected)
    assert not np.array_equal(saved, side_by_side(picture(10).input.image, picture(10).image)), "the label differs"
    write(20, 2.0)
    assert level(file) == 10
    snapshot.request()
    write(30, 3.0)
    assert len(list((tmp_path / "keys").iterdir())) == 1, "the key takes what is shown"
    away[0] = False
    write(40, 4.0)
    write(50, 6.0)
    snapshot.close()
    assert level(file) == 40


def test_a_key_that_cannot_save_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    view = ViewState()
    snapshot = Snapshot(tmp_path / "file", view)
    snapshot.request()
    snapshot.write(picture())
    snapshot.close()
    assert "cannot write" in view.notice


def test_several_in_a_second_are_several_files(tmp_path: Path) -> None:
    snapshot = Snapshot(tmp_path, ViewState())
    for _ in range(3):
        snapshot.request()
        snapshot.write(picture())
        snapshot.close()  # waits for the writing
    assert len(list(tmp_path.glob("snapshot-*.png"))) == 3


def test_each_side_has_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {}

    class Placed(TextPanel):
        def __init__(self, lines: Sequence[str], *, height: int, width: int) -> None:
            super().__init__(lines, height=height, width=width)
            self.text = lines[0]

        def draw(self, image: Image, x: int, y: int) -> None:
            places[self.text.partition(":")[0]] = x
            super().draw(image, x, y)

    monkeypatch.setattr("app.sinks.snapshot.TextPanel", Placed)
    side_by_side(picture().input.image, picture().image)
    assert places["before"] < 128 < places["after"]
