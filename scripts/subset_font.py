#!/usr/bin/env python3
"""Make app/overlays/texts/captions.otf.

  python scripts/subset_font.py NotoSansCJK-Regular.ttc

The collection comes with Debian's package fonts-noto-cjk. Only this script needs fonttools: pip install fonttools
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
from fontTools import subset
from fontTools.ttLib import TTCollection

from scripts.common.checkout import ROOT

CAPTION_FONT_FILE = ROOT / "app/overlays/texts/captions.otf"
CAPTION_FONT_NAME = "livesr Captions"


def characters() -> str:
    """Return ASCII, Latin-1, Latin Extended-A, punctuation and the Hangul of KS X 1001 (EUC-KR B0A1 to C8FE)."""
    codes = [*range(0x20, 0x7F), *range(0xA0, 0x180)]
    hangul = [bytes([high, low]).decode("euc_kr") for high in range(0xB0, 0xC9) for low in range(0xA1, 0xFF)]
    return "".join(map(chr, codes)) + "–—‘’“”…·•×→←↔℃、。《》" + "".join(hangul)  # noqa: RUF001 # meant as they are


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", help="NotoSansCJK-Regular.ttc")
    path = parser.parse_args(arguments).collection
    font = next(f for f in TTCollection(path).fonts if f["name"].getDebugName(4) == "Noto Sans CJK KR")
    options = subset.Options()
    options.layout_features, options.hinting, options.name_IDs = [], False, [0, 1, 2, 3, 4, 5, 6, 13, 14]
    options.notdef_outline = True
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=characters())
    subsetter.subset(font)
    for record in font["name"].names:
        if record.nameID in (1, 3, 4, 6):
            record.string = CAPTION_FONT_NAME.replace(" ", "-") if record.nameID == 6 else CAPTION_FONT_NAME
    font.save(CAPTION_FONT_FILE)
    print(CAPTION_FONT_FILE, CAPTION_FONT_FILE.stat().st_size, "bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
