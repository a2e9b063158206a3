"""What visitors see: the divider that moves, the magnifier, the caption in their languages."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from app.config.schema import KioskConfig
from app.errors import ConfigError
from app.overlays import texts
from app.overlays.caption import Caption
from app.overlays.font import CaptionFont
from app.overlays.magnifier import Magnifier
from app.overlays.split_sweep import EDGE_SHARE, SplitSweep
from app.overlays.split_view import SplitView
from app.overlays.stack import build_overlays
from app.overlays.stats_panel import StatsPanel
from app.overlays.text_panel import TextPanel
from app.overlays.view_state import ViewState
from app.pipeline.frame import Frame, Origin, OutputFrame
from app.pipeline.stats import Stats
from engines.base import Image
from engines.bicubic import enlarge

ROOT = Path(__file__).parents[3]


def picture(source: Image, *, origin: Origin = Origin.LIVE, level: int | None = None) -> OutputFrame:
    height, width = source.shape[:2]
    image = np.empty((2 * height, 2 * width, 3), np.uint8)
    enlarge(source, image) if level is None else image.fill(level)
    return OutputFrame(image, Frame(source, 0, 0, 0, origin=origin))


def flat(level: int = 120) -> Image:
    return np.full((360, 640, 3), level, np.uint8)


def test_the_divider_moves_by_itself_and_lets_a_hand_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    view, now, places = ViewState(split=True), 100.0, []
    monkeypatch.setattr(time, "monotonic", lambda: now)
    sweep = SplitSweep(view, 10)
    for _ in range(400):
        now += 0.05
        sweep.advance()
        places.append(view.divider)
    assert places[0] == pytest.approx(0.5, abs=0.02)
    assert min(places) == pytest.approx(EDGE_SHARE, abs=0.01) and max(places) == pytest.approx(1 - EDGE_SHARE, abs=0.01)
    assert np.abs(np.diff(places)).max() < 0.02, "slowly"
    view.move(0.2)
    for _ in range(100):
        now += 0.1
        sweep.advance()
        assert view.divider == 0.2
    for _ in range(60):
        now += 0.1
        before = view.divider
        sweep.advance()
        assert abs(view.divider - before) < 0.05, "it goes on from where it was left"
    assert view.divider != 0.2


def test_each_side_of_the_divider_has_its_own_name_in_every_language(monkeypatch: pytest.MonkeyPatch) -> None:
    places: dict[tuple[str, ...], int] = {}

    class Placed(TextPanel):
        lines: tuple[str, ...] = ()

        def draw(self, image: Image, x: int, y: int) -> None:
            places[self.lines] = x

    def panel(_letters: CaptionFont, lines: Sequence[str], *, height: int, width: int) -> TextPanel:
        made = Placed(["label"], height=height, width=width)
        made.lines = tuple(lines)
        return made

    monkeypatch.setattr(CaptionFont, "panel", panel)
    view = ViewState(split=True)
    overlays = build_overlays(KioskConfig(languages=("ko", "en")), view, Stats(), StatsPanel(view, list))
    next(overlay for overlay in overlays if isinstance(overlay, SplitView)).draw(picture(flat()))
    spoken = texts.load(("ko", "en"), None)
    before, after = tuple(text.before for text in spoken), tuple(text.after for text in spoken)
    assert places[before] < 640 < places[after]


def test_the_magnifier_shows_the_most_detailed_part_alike_on_both_sides() -> None:
    source = flat()
    source[200:260, 100:180] = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    magnifier, shown = Magnifier(), picture(source)
    magnifier.tracker.draw(shown)
    x, y, width, height = magnifier.tracker.part
    assert abs(x - 100) <= 8 and abs(y - 200) <= 8 and (width, height) == (80, 60)
    assert magnifier.tracker.before is not None and magnifier.tracker.after is not None
    # The picture is bicubic here, so both sides must be the same to the pixel, and be what the picture has there.
    assert np.array_equal(magnifier.tracker.before, magnifier.tracker.after)
    assert np.array_equal(magnifier.tracker.after, shown.image[2 * y : 2 * (y + height), 2 * x : 2 * (x + width)])
    magnifier.draw(shown)
    assert shown.image[40:200, 700:1250].std() > 40, "drawn in the upper right corner"


def test_the_magnifier_does_not_wander() -> None:
    rng = np.random.default_rng(1)
    magnifier, parts = Magnifier(), set()
    for _ in range(20):
        magnifier.tracker._searched = float("-inf")
        magnifier.tracker.draw(picture(rng.integers(100, 140, (360, 640, 3)).astype(np.uint8)))
        parts.add(magnifier.tracker.part)
    assert len(parts) == 1


@pytest.mark.parametrize("size", [(16, 16), (70, 50), (160, 120), (641, 359)])
def test_small_and_odd_pictures_have_no_magnifier_or_a_right_one(size: tuple[int, int]) -> None:
    source = np.random.default_rng(2).integers(0, 256, (size[1], size[0], 3), np.uint8)
    view, kiosk = ViewState(split=True), KioskConfig(magnifier=True, sweep=5, languages=("ko", "en"))
    overlays = build_overlays(kiosk, view, Stats(), StatsPanel(view, lambda: ["a"]))
    for origin in Origin:
        shown = picture(source, origin=origin)
        for overlay in overlays:
            overlay.draw(shown)


def test_a_held_picture_is_dimmed_and_says_why() -> None:
    caption = Caption(texts.load(["ko", "en"]), CaptionFont())
    held, live = (picture(flat(), origin=origin) for origin in (Origin.HELD, Origin.LIVE))
    for one in (held, live):
        caption.draw(one)
    corner = np.s_[:100, :100]
    assert held.image[corner].mean() == pytest.approx(0.35 * 120, abs=1) and live.image[corner].mean() == 120
    middle = np.s_[300:420, 400:880]
    assert held.image[middle].max() > 230, "white letters"
    assert live.image[middle].max() == 120


def test_the_attract_loop_and_the_fallback_are_labelled() -> None:
    away = [False]
    caption = Caption(texts.load(["en"]), CaptionFont(), degraded=lambda: away[0])
    images = []
    for origin, degraded in ((Origin.LIVE, False), (Origin.ATTRACT, False), (Origin.LIVE, True)):
        away[0] = degraded
        images.append(picture(flat(), origin=origin))
        caption.draw(images[-1])
    assert len({one.image.tobytes() for one in images}) == 3


def test_korean_is_drawn_and_what_the_font_lacks_is_named(tmp_path: Path) -> None:
    letters = CaptionFont()
    for text in texts.load(["ko", "en"]):
        letters.check("".join(vars(text).values()), "shipped")
    assert letters._has("한") and not letters._has("漢")
    with pytest.raises(ConfigError, match="the font lacks 漢") as caught:
        letters.check("漢字", "mine")
    assert "fonts-noto-cjk" in str(caught.value)
    one, other = (letters.panel([text], height=20, width=500) for text in ("카메라", "카메리"))
    assert not np.array_equal(one._light, other._light)
    assert letters.panel(["a" * 400], height=20, width=300).size[0] <= 300
    (tmp_path / "font.otf").write_text("none")
    with pytest.raises(ConfigError, match="cannot be used"):
        CaptionFont(tmp_path / "font.otf")


def test_texts_of_the_owners(tmp_path: Path) -> None:
    mine = (texts.TEXTS_FOLDER / "en.yaml").read_text().replace("Camera", "Before")
    (tmp_path / "en.yaml").write_text(mine)
    (tmp_path / "fr.yaml").write_text(mine.replace("Before", "Avant"))
    assert [text.before for text in texts.load(["fr", "en", "ko"], tmp_path)] == ["Avant", "Before", "카메라 원본"]
    with pytest.raises(ConfigError, match="'de'") as caught:
        texts.load(["de"], tmp_path)
    assert "en, fr, ko" in str(caught.value)
    number = "\n".join("after: 3" if line.startswith("after:") else line for line in mine.splitlines())
    for bad, told in (("caption: 3\n", "missing"), (mine + "extra: x\n", "not known"), (number, "3")):
        (tmp_path / "fr.yaml").write_text(bad)
        with pytest.raises(ConfigError, match=told):
            texts.load(["fr"], tmp_path)


def test_a_folder_of_texts_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder, told in ((tmp_path / "none", "No such file"), (tmp_path / "file", "Not a directory")):
        with pytest.raises(ConfigError, match="is not a folder of texts") as caught:
            texts.load([], folder)
        assert told in str(caught.value)


def test_a_text_written_as_a_block_is_one_line(tmp_path: Path) -> None:
    lines = [
        line for line in (texts.TEXTS_FOLDER / "en.yaml").read_text().splitlines() if not line.startswith("caption:")
    ]
    (tmp_path / "en.yaml").write_text("\n".join([*lines, "caption: |", "  {times} times", "  the pixels", ""]))
    (spoken,) = texts.load(["en"], tmp_path)
    assert spoken.caption == "{times} times the pixels"
    Caption([spoken], CaptionFont()).draw(picture(flat()))


@pytest.mark.integration
def test_without_a_caption_no_pillow_is_needed() -> None:
    code = "import app.overlays.stack, app.session, sys; print('PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr
