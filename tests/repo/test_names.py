"""One name, one thing: classes, constants, and folders that can be taken in at a glance."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_MODULES = 11
"""In a folder, but for the commands on top of scripts/: about ten, as a reader takes in at a glance."""
FIXED_BY_OTHERS = {"TritonPythonModel"}
"""Triton looks for a class of this name in each model's file."""
VAGUE_NAMES = {"told", "made", "asked", "there", "own", "one", "lent", "taught"}
"""Names that say how a thing came about, or nothing: CONTRIBUTING.md asks for what it is."""


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Each module of the product and of the scripts, with its path."""
    for top in ("app", "engines", "scripts"):
        for path in sorted((ROOT / top).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def constants(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Names in capitals that a module assigns at its top level, each with its expression; not variables of types."""
    for node in module.body:
        match node:
            case ast.Assign(targets=targets, value=value):
                names = [name for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
                if not ast.unparse(value).startswith(("TypeVar(", "ParamSpec(")):
                    yield from ((name.id, ast.unparse(value)) for name in names if name.id.isupper())
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name.isupper():
                yield name, ast.unparse(value)


def test_no_class_name_stands_twice() -> None:
    places = defaultdict(list)
    for path, module in sources():
        for node in ast.walk(module):
            if isinstance(node, ast.ClassDef) and node.name not in FIXED_BY_OTHERS:
                places[node.name].append(f"{path}:{node.lineno}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_constant_name_stands_twice() -> None:
    """What means the same is imported from one place; what means something else has another name."""
    places = defaultdict(list)
    for path, module in sources():
        for name, value in constants(module):
            places[name].append(f"{path}: {value}")
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_no_name_says_how_a_thing_came_about() -> None:
    """Locals, parameters, attributes, functions and classes."""
    vague = []
    for path, module in sources():
        for node in ast.walk(module):
            match node:
                case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                    pass
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    pass
                case _:
                    continue
            if name.strip("_") in VAGUE_NAMES:
                vague.append(f"{path}:{node.lineno}: {name}")
    assert vague == []


def test_a_folder_is_taken_in_at_a_glance() -> None:
    tops = [ROOT / "app", ROOT / "engines", *(path for path in (ROOT / "scripts").iterdir() if path.is_dir())]
    folders = (folder for top in tops for folder in [top, *top.rglob("*/")])
    modules = {folder: [path.name for path in folder.glob("*.py") if path.stem != "__init__"] for folder in folders}
    assert {str(folder): names for folder, names in modules.items() if len(names) > MAX_MODULES} == {}
