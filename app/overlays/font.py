"""Text in any script, with a real font: OpenCV's own fonts have ASCII alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from app.errors import ConfigError
from app.overlays.text_panel import TextPanel

SHIPPED_FONT = Path(__file__).parent / "texts/captions.otf"


class CaptionFont:
    """A font file that renders panels of text."""

    def __init__(self, font: Path | None = None) -> None:
        """Use `font`, or the one that is shipped. Raises ConfigError if it cannot be read."""
        self.path = font or SHIPPED_FONT
        try:
            ImageFont.truetype(str(self.path), 20)
        except OSError as error:
            raise ConfigError(
                f"The font {self.path} cannot be used", str(error), "Give a .ttf, .otf or .ttc file as kiosk.font."
            ) from None

    def check(self, text: str, origin: str) -> None:
        """Raise ConfigError naming the characters of `text` that the font lacks; `origin` says where it is from."""
        missing = "".join(dict.fromkeys(c for c in text if not c.isspace() and not self._has(c)))
        if missing:
            raise ConfigError(
                f"{origin}: the font lacks {' '.join(missing[:10])}",
                f"looked in {self.path}",
                "Give a font that has them as kiosk.font, for example Debian's fonts-noto-cjk: "
                "/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc",
            )

    def panel(self, lines: Sequence[str], *, height: int, width: int) -> TextPanel:
        """Render `lines`, centred, in letters `height` pixels high, at most `width` pixels wide: long text shrinks."""
        size, pad = max(4, round(height * 1.37)), max(2, height)
        while True:
            font = ImageFont.truetype(str(self.path), size)
            widths = [font.getlength(line) for line in lines]
            if max(widths) + 2 * pad <= width or size <= 4:
                break
            size, pad = max(4, size * 9 // 10), max(2, pad * 9 // 10)
        step = round(size * 1.35)
        across = max(1, min(width, round(max(widths)) + 2 * pad))
        mask = Pillow.new("L", (across, step * len(lines) + pad))
        pen = ImageDraw.Draw(mask)
        for row, (line, wide) in enumerate(zip(lines, widths, strict=True)):
            pen.text(((across - wide) / 2, pad / 2 + row * step), line, fill=255, font=font)
        return TextPanel.of(np.asarray(mask, np.uint8))

    def _has(self, character: str) -> bool:
        return glyph(self.path, character) != glyph(self.path, "\U0010fffd")  # a character that no font has


@lru_cache(4096)
def glyph(path: Path, character: str) -> bytes:
    """Return the bitmap that the font draws for a character."""
    return bytes(ImageFont.truetype(str(path), 24).getmask(character))
