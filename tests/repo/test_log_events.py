"""The names of log events, which other programs read, are those that docs/options.md lists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def logged_events(path: Path) -> Iterator[str]:
    """The names that a module gives to log_event(), or to a function of its own that passes an `event` on to it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    positions = {"log_event": 2}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            arguments = [argument.arg for argument in node.args.args if argument.arg != "self"]
            if "event" in arguments:
                positions[node.name] = arguments.index("event")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in positions and isinstance(given := node.args[positions[name]], ast.Constant):
                yield str(given.value)


def test_the_document_lists_the_events_that_there_are() -> None:
    modules = [path for folder in ("app", "engines") for path in (ROOT / folder).rglob("*.py")]
    logged = {event for path in modules for event in logged_events(path)}
    section = (ROOT / "docs/options.md").read_text(encoding="utf-8").partition("| events |")[2].partition("\n\n")[0]
    listed = {name for row in section.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert logged == listed
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", event) for event in logged)
