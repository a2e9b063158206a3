#!/usr/bin/env python3
"""Draw pages of text, lines, stripes and plain shapes to train on.

  python scripts/pages.py data/pages
  apt install fonts-dejavu-core fonts-dejavu-extra fonts-urw-base35

Folders of photographs hold hardly any print, and a network that has seen none blurs what visitors read first: signs,
labels, slides. Pages are drawn at twice their size and scaled down, as a lens and a sensor would average an edge. The
same fonts and the same version of Pillow give the same pages.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
from PIL import Image, ImageDraw, ImageFont

from engines.errors import UserError
from scripts.common.arguments import positive_int

PAGE_SIZE = 1400, 1000
PAGE_OVERSAMPLING = 2
"""How many times larger pages are drawn than they are kept."""
LETTER_FREQUENCIES = "eeeeeeetttttaaaaooooiiiinnnnsssshhhrrrddlluuccmmwwffggyyppbbvkjxqz"
DIGITS_AND_SIGNS = "0123456789.,:;!?()%&-+/"
SYMBOL_FONTS = "D050000L", "StandardSymbols", "Math", "Emoji", "Dingbat"

Colour = tuple[int, int, int]


class PagesError(UserError):
    """Pages cannot be drawn with what is there."""


def fonts(root: Path) -> list[Path]:
    """Return the scalable fonts with letters under `root`, sorted. Raises PagesError if there is none."""
    files = (file for ending in ("ttf", "otf") for file in root.rglob(f"*.{ending}"))
    found = sorted(file for file in files if not any(word in file.name for word in SYMBOL_FONTS))
    if not found:
        raise PagesError("There are no fonts to draw with", f"looked in {root}", "Install the packages of --help.")
    return found


class TextPage:
    """One page, decided by its seed and the fonts. All lengths are in pixels as kept, not as drawn."""

    def __init__(self, seed: int, fonts: list[Path]) -> None:
        self.random, self.fonts = random.Random(seed), fonts
        dark = self.random.random() < 0.35
        paper = self.colour(0, 90) if dark else self.random.choice([(255, 255, 255), self.colour(170, 255)])
        self.image = Image.new("RGB", (PAGE_SIZE[0] * PAGE_OVERSAMPLING, PAGE_SIZE[1] * PAGE_OVERSAMPLING), paper)
        self.pen = ImageDraw.Draw(self.image)

    def colour(self, least: int = 0, most: int = 255) -> Colour:
        """Return a random colour, each of its values from `least` to `most`."""
        red, green, blue = (self.random.randint(least, most) for _ in range(3))
        return red, green, blue

    def place(self) -> tuple[int, int]:
        """Return a random point on the page as drawn."""
        return self.random.randrange(self.image.width), self.random.randrange(self.image.height)

    def shape(self) -> None:
        """Draw a rectangle, ellipse, polygon or bent line, with an outline."""
        pick = self.random
        (x, y), width, height = (
            self.place(),
            pick.randint(50, 700) * PAGE_OVERSAMPLING,
            pick.randint(30, 500) * PAGE_OVERSAMPLING,
        )
        inside = self.colour() if pick.random() < 0.6 else None
        edge = self.colour() if pick.random() < 0.6 else (0, 0, 0)
        thick = pick.choice([2, 3, 4, 6, 8, 12])
        corners = [(x + pick.randint(0, width), y + pick.randint(0, height)) for _ in range(pick.randint(3, 7))]
        kind = pick.choice(["rectangle", "ellipse", "polygon", "line"])
        if kind == "rectangle":
            self.pen.rectangle((x, y, x + width, y + height), inside, edge, thick)
        elif kind == "ellipse":
            self.pen.ellipse((x, y, x + width, y + height), inside, edge, thick)
        elif kind == "polygon":
            self.pen.polygon(corners, inside, edge, thick)
        else:
            self.pen.line(corners, edge, thick, joint="curve")

    def stripes(self) -> None:
        """Draw a patch of stripes, 4 to 20 pixels apart, in any direction."""
        side, period = self.random.randint(200, 600) * PAGE_OVERSAMPLING, self.random.uniform(4, 20) * PAGE_OVERSAMPLING
        share = self.random.uniform(0.3, 0.7)
        patch, ink = Image.new("RGB", (side, side), self.colour()), self.colour()
        pen = ImageDraw.Draw(patch)
        for index in range(int(side / period) + 1):
            pen.rectangle((index * period, 0, (index + share) * period, side), ink)
        patch = patch.rotate(self.random.uniform(0, 180), Image.Resampling.BICUBIC)
        inner = side // 5  # what a turn leaves without corners
        self.image.paste(patch.crop((inner, inner, side - inner, side - inner)), self.place())

    def word(self) -> str:
        """Return a random word, or now and then a number or signs."""
        if self.random.random() < 0.1:
            return "".join(self.random.choices(DIGITS_AND_SIGNS, k=self.random.randint(1, 6)))
        word = "".join(self.random.choices(LETTER_FREQUENCIES, k=self.random.randint(2, 9)))
        case = self.random.random()
        return word.upper() if case < 0.06 else word.capitalize() if case < 0.25 else word

    def text(self) -> None:
        """Draw some lines in one font, mostly 10 to 40 pixels high, black or white or in any colour."""
        size = int(min(90, max(9, self.random.lognormvariate(3.0, 0.6)))) * PAGE_OVERSAMPLING
        font = ImageFont.truetype(str(self.random.choice(self.fonts)), size)
        x, y = self.place()
        paper = self.image.getpixel((x, y))
        assert isinstance(paper, tuple)
        ink = self.colour() if self.random.random() < 0.4 else (0, 0, 0) if sum(paper) > 380 else (255, 255, 255)
        words = self.random.randint(3, 12)
        for line in range(self.random.randint(1, max(1, 900 // size))):
            row = " ".join(self.word() for _ in range(words))
            self.pen.text((x - 100 * PAGE_OVERSAMPLING, y + line * size * 5 // 4), row, ink, font)

    def drawn(self) -> Image.Image:
        """Draw the page; return it at PAGE_SIZE."""
        for _ in range(self.random.randint(3, 10)):
            self.shape()
        for _ in range(self.random.randint(0, 2)):
            self.stripes()
        for _ in range(self.random.randint(6, 16)):
            self.text()
        return self.image.resize(PAGE_SIZE, Image.Resampling.BICUBIC)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to create")
    parser.add_argument(
        "--pages", type=positive_int, default=20, help="number of pages [20, as for the shipped models]"
    )
    parser.add_argument(
        "--fonts", type=Path, default=Path("/usr/share/fonts"), help="folder of the fonts [/usr/share/fonts]"
    )
    options = parser.parse_args(arguments)
    try:
        found = fonts(options.fonts)
        options.out.mkdir(parents=True, exist_ok=True)
        for seed in range(options.pages):
            TextPage(seed, found).drawn().save(options.out / f"page-{seed:03d}.png")
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.pages} pages in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
