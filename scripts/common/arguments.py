"""Types for argparse: amounts, counts and sizes. Each raises argparse's own error."""

from __future__ import annotations

import argparse
import math

from app.config.fields import parse_size


def positive_number(text: str) -> float:
    """Return a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"it must be a number above 0, not {text}")
    return value


def positive_int(text: str) -> int:
    """Return a whole number of at least 1."""
    return _whole(text, 1)


def non_negative_int(text: str) -> int:
    """Return a whole number of at least 0."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"it must be a whole number of at least {least}, not {text}")
    return value


def size(text: str) -> tuple[int, int]:
    """Return (640, 360) for "640x360"."""
    try:
        width, height = parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, not {text}") from None
    return width, height
