"""Sizes, as the options of the scripts have them."""

from __future__ import annotations

import argparse

from app.config.fields import parse_size


def size(text: str) -> tuple[int, int]:
    """(640, 360) of "640x360". Raises argparse's own error."""
    try:
        width, height = parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, not {text}") from None
    return width, height
