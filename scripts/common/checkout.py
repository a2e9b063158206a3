"""Where the checkout that these scripts belong to lies."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds app/, engines/ and scripts/."""
