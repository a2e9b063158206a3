"""The caption: its texts in the visitors' languages, its font, and what it says of a picture that is not live."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from app.config.schema import KioskConfig
from app.errors import ConfigError
from app.overlays import texts
from app.overlays.caption import Caption
from app.overlays.font import CaptionFont
from app.overlays.split_view import SplitMarks
from app.overlays.stack import build_overlays
from app.overlays.text_panel import TextPanel
from app.overlays.view_state import ViewState
from app.pipeline.frame import Origin
from app.pipeline.stats import Stats
from engines.base import Image
from tests.support.output_frames import flat, output_frame

ROOT = Path(__file__).parents[3]


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
    kiosk = KioskConfig(languages=("ko", "en"))
    overlays = build_overlays(kiosk, view, Stats(), list, lambda: False, window=True, recorded=False)
    next(overlay for overlay in overlays.screen if isinstance(overlay, SplitMarks)).draw(output_frame(flat()))
    spoken = texts.load(("ko", "en"), None)
    before, after = tuple(text.before for text in spoken), tuple(text.after for text in spoken)
    assert places[before] < 640 < places[after]


def test_a_held_picture_is_dimmed_and_says_why() -> None:
    caption = Caption(texts.load(["ko", "en"]), CaptionFont())
    held, live = (output_frame(flat(), origin=origin) for origin in (Origin.HELD, Origin.LIVE))
    for one in (held, live):
        caption.draw(one)
    corner = np.s_[:100, :100]
    assert held.image[corner].mean() == pytest.approx(0.35 * 120, abs=1) and live.image[corner].mean() == 120
    middle = np.s_[300:420, 400:880]
    assert held.image[middle].max() > 230, "white letters"
    assert live.image[middle].max() == 120


def test_the_attract_loop_and_the_fallback_are_labelled() -> None:
    away = [False]
    caption = Caption(texts.load(["en"]), CaptionFont(), interpolated=lambda: away[0])
    images = []
    for origin, degraded in ((Origin.LIVE, False), (Origin.ATTRACT, False), (Origin.LIVE, True)):
        away[0] = degraded
        images.append(output_frame(flat(), origin=origin))
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
    Caption([spoken], CaptionFont()).draw(output_frame(flat()))


@pytest.mark.integration
def test_without_a_caption_no_pillow_is_needed() -> None:
    code = "import app.overlays.stack, app.session, sys; print('PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr
