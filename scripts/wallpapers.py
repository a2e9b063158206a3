#!/usr/bin/env python3
r"""Collect the photographs of Debian's wallpaper packages.

  python scripts/wallpapers.py data/wallpapers
  apt install mate-backgrounds plasma-workspace-wallpapers gnome-backgrounds ukui-wallpapers \
      lomiri-wallpapers-16.04 lomiri-wallpapers-20.04 sway-backgrounds

Of a wallpaper in several sizes, the largest is used. Names begin with a running number in the order of their
paths, so that the same packages give the same folder and a recipe the same crops. Pictures are linked, not copied.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split

from PIL import Image, UnidentifiedImageError

WALLPAPER_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
NO_PHOTOGRAPHS = ("screenshot", "preview")


def collect(root: Path) -> list[Path]:
    """Return the largest picture of each wallpaper under `root`, sorted by path."""
    best: dict[str, tuple[int, Path]] = {}
    for file in sorted(root.rglob("*")):
        if file.suffix.lower() not in WALLPAPER_SUFFIXES or file.is_symlink() or not file.is_file():
            continue
        if any(word in file.name.lower() for word in NO_PHOTOGRAPHS):
            continue
        try:
            with Image.open(file) as picture:  # reads the head alone
                pixels = picture.width * picture.height
        except (UnidentifiedImageError, Image.DecompressionBombError):
            continue
        sizes = re.search(r"wallpapers/([^/]+/contents/images[^/]*)/", str(file))
        wallpaper = sizes[1] if sizes else str(file)
        if wallpaper not in best or pixels > best[wallpaper][0]:
            best[wallpaper] = pixels, file
    return sorted(file for _, file in best.values())


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to create")
    parser.add_argument(
        "--root", type=Path, default=Path("/usr/share"), help="folder that the packages install to [/usr/share]"
    )
    options = parser.parse_args(arguments)
    found = collect(options.root / "backgrounds") + collect(options.root / "wallpapers")
    if not found:
        print(f"There are no wallpapers under {options.root}. Install the packages named in --help.", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    for index, file in enumerate(found):
        link = options.out / f"{index:03d}-{file.name}"
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())
    print(f"{len(found)} pictures in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
