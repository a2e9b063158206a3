"""On what terms a model may be used, as its file says."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from engines.catalog.onnx_metadata import properties

TERMS_KEY = "terms"
"""Of the files' metadata, and of the cards' front matter."""
FREE = "free"
"""Learnt from pictures that anybody may use, and so did all that it builds on."""
RESEARCH_ONLY = "research use only"
NOT_STATED = ""


def stated_terms(path: Path) -> str:
    """Return what the file `path` says: FREE, RESEARCH_ONLY, other words; NOT_STATED where it says nothing."""
    return properties(path).get(TERMS_KEY, NOT_STATED)


def combined(terms: Iterable[str]) -> str:
    """Return the terms of what builds on parts with `terms`: FREE if all are, RESEARCH_ONLY if one is."""
    parts = set(terms)
    if RESEARCH_ONLY in parts:
        return RESEARCH_ONLY
    return FREE if parts == {FREE} else NOT_STATED
