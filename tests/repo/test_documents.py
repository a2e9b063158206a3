"""The documents name only what exists: files, options, configuration keys, links and headings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from app.config.command_line import parse

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "NOTICE",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "findings").glob("*.sh")),
]
EVERY_DOCUMENT = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
FOLDERS = "app|engines|scripts|tests|configs|docs|findings"


def anchors(text: str) -> set[str]:
    """The anchors that a Markdown page's headings get."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@EVERY_DOCUMENT
def test_links_lead_somewhere(document: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)", document.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        page = document.parent / target if target else document
        assert page.exists(), target
        assert not anchor or anchor in anchors(page.read_text(encoding="utf-8")), f"{target}#{anchor}"


@EVERY_DOCUMENT
def test_paths_exist(document: Path) -> None:
    for path in re.findall(rf"(?<![\w/.-])((?:{FOLDERS})/[\w./-]*\w)", document.read_text(encoding="utf-8")):
        assert (ROOT / path).exists() or "NAME" in path, path


def test_the_readme_is_short_and_begins_with_a_picture_that_is_small() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    (picture,) = re.findall(r"^!\[[^]]+\]\((\S+)\)$", text, re.MULTILINE)
    assert text.index(picture) < text.index("\n## ")
    assert (ROOT / picture).stat().st_size <= 250_000


@pytest.mark.parametrize("name", ["README.md", "docs/options.md", "docs/kiosk.md", "docs/architecture.md"])
def test_configuration_keys_exist(name: str) -> None:
    defaults = yaml.safe_load((ROOT / "configs" / "default.yaml").read_text(encoding="utf-8"))
    sections = "|".join(defaults)
    for section, key in re.findall(rf"`({sections})\.(\w+)", (ROOT / name).read_text(encoding="utf-8")):
        assert key in defaults[section], f"{section}.{key}"


def commands(text: str) -> list[list[str]]:
    """The arguments of each command line that starts the program, from the blocks of a page."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [
        line[start:]
        for line in words
        for start in (3, 1)
        if line[:start] in (["python", "-m", "app.run"], ["./scripts/run"])
    ]


def test_documented_commands_are_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = [line for document in DOCUMENTS for line in commands(document.read_text(encoding="utf-8"))]
    assert len(found) > 20
    for line in found:
        parse(line)  # raises ConfigError, or ends the program with a message
