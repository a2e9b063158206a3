"""The terms of what networks learn from, and with that of the networks themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from engines.catalog.shipped import terms_of
from engines.catalog.terms import FREE, NOT_STATED, RESEARCH_ONLY, combined
from engines.errors import UserError
from scripts.common.checkout import ROOT
from scripts.training import photos, recipe
from scripts.training.photograph_list import LIST, read
from scripts.training.recipe import Recipe

SETS_FILE = LIST.with_name("sets.yaml")
FREE_PHOTOGRAPHS = "free-photographs"
"""The set whose folders are not believed by their name: every picture has to be in the list."""


class DataError(UserError):
    """What a recipe learns from has no known terms."""


@dataclass(frozen=True)
class DataSet:
    """A set of pictures that recipes name."""

    terms: str
    """FREE or RESEARCH_ONLY."""
    about: str


def data_sets() -> dict[str, DataSet]:
    """Return the sets of SETS_FILE by their names."""
    return {name: DataSet(**values) for name, values in yaml.safe_load(SETS_FILE.read_text(encoding="utf-8")).items()}


def data_set(name: str) -> DataSet:
    """Return one set. Raises DataError if there is none of that name."""
    known = data_sets()
    if name not in known:
        raise DataError(
            f"There is no set of pictures called {name}",
            f"there are: {', '.join(known)}",
            f"Name one of these, or describe it in {SETS_FILE}.",
        )
    return known[name]


def folder_terms(folders: Sequence[Path]) -> str:
    """Return the terms of the pictures in `folders`; NOT_STATED where one of them is not known.

    A folder has the terms of the set of its name. That of free-photographs has to hold nothing that is not in the list,
    and one of any other name may consist of photographs of the list too.

    Raises:
        PhotosError: There is no such folder.
    """
    known, free = data_sets(), {digest for photograph in read() for digest in (photograph.sha256, photograph.copy)}

    def of(folder: Path) -> str:
        name = folder.resolve().name if folder.name in ("", ".", "..") else folder.name
        if name != FREE_PHOTOGRAPHS and name in known:
            return known[name].terms
        files = photos.find_files([folder])
        listed = files and all(hashlib.sha256(file.read_bytes()).hexdigest() in free for file in files)
        return FREE if listed else NOT_STATED

    return combined(of(folder) for folder in folders)


def network_terms(trained: Recipe, folders: Sequence[Path]) -> str:
    """Return the terms of a network that `trained` makes of the pictures in `folders`: its start and teacher count."""
    files = [ROOT / name for name in (trained.start, trained.teacher) if name]
    return combined([folder_terms(folders), *(terms_of(file) for file in files)])


def ancestry(name: str, before: tuple[str, ...] = ()) -> dict[str, Recipe]:
    """Return the recipes of `name` and of all networks that it builds on, `name` last, whether they exist yet or not.

    Raises RecipeError. Recipes that need one another in a circle are reported by scripts/reproduce.py, not here.
    """
    parsed = Recipe.read(recipe.RECIPES_FOLDER / f"{name}.yaml")
    recipes: dict[str, Recipe] = {}
    for needed in (parsed.start, parsed.teacher):
        if needed and Path(needed).stem not in (*before, name):
            recipes |= ancestry(Path(needed).stem, (*before, name))
    return recipes | {name: parsed}


def provenance(name: str) -> Iterator[str]:
    """Yield, in lines, what `name` and all that it builds on learn from, with the terms, and those of the outcome.

    Raises:
        RecipeError: A recipe is missing or none.
        DataError: A set has no terms.
    """
    recipes = ancestry(name)
    terms: list[str] = []
    calibrating: list[str] = []

    def described(sets: Sequence[str], collected: list[str]) -> str:
        collected.extend(data_set(name).terms for name in sets)
        if not sets:
            collected.append(NOT_STATED)
        return ", ".join(f"{name} ({data_set(name).terms})" for name in sets) or "not stated"

    yield "Data, with its terms:"
    for network, parsed in recipes.items():
        yield f"  {network}: {described(parsed.data, terms)}"
    if recipes[name].calibration:
        yield f"  calibration of {name}-int8: {described(recipes[name].calibration, calibrating)}"
    outcome = combined([*terms, *calibrating])
    words = {FREE: "free", RESEARCH_ONLY: f"for {RESEARCH_ONLY}"}
    yield f"{name} with all that it builds on: {words.get(outcome, 'terms are not stated')}"
