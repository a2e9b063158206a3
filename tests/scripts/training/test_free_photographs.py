"""The free photographs: a list that is free, of the same files everywhere, and credited."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
import yaml

from scripts import free_photographs
from scripts.free_photographs import NOTICE, collect, main, with_credits
from scripts.training.photograph_list import PhotographListError, address, read
from tests.support.tiny_training import save


def entry(path: Path, **more: object) -> dict[str, object]:
    """A photograph of a list."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    values = {"file": path.name, "sha256": digest, "licence": "CC0-1.0", "author": "Ann", "size": [64, 48]}
    return values | {"detail": 1.0} | more


def listed(path: Path, **groups: list[dict[str, object]]) -> Path:
    """A list of one source for each of `groups`."""
    sources = [
        {"package": name, "version": "1-1", "suite": "trixie", "stated": "debian/copyright", "photographs": entries}
        for name, entries in groups.items()
    ]
    path.write_text(yaml.safe_dump(sources))
    return path


def test_the_shipped_list_is_large_and_notice_credits_all_of_it() -> None:
    photographs = read()  # which refuses what is not free
    assert len(photographs) >= 100
    assert sum(photograph.megapixels for photograph in photographs) > 1000
    text = NOTICE.read_text(encoding="utf-8")
    assert with_credits(text, photographs) == text, "run scripts/free_photographs.py --notice"
    unwrapped = " ".join(text.split())
    for photograph in photographs:
        assert photograph.name in unwrapped and photograph.author in unwrapped
        assert bool(photograph.blob) == bool(photograph.commit) == bool(photograph.source.repository)
        assert address(photograph.licence) in text


@pytest.mark.parametrize("licence", ["GPL-2+", "LGPLv3", "CC-BY-NC-4.0", "CC-BY-ND-2.0", "Unsplash", ""])
def test_what_is_not_free_is_refused(tmp_path: Path, licence: str) -> None:
    path = listed(tmp_path / "list.yaml", some=[entry(save(tmp_path / "a.png", 1), licence=licence)])
    with pytest.raises(PhotographListError, match="is not free"):
        read(path)


def test_a_list_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    picture = entry(save(tmp_path / "a.png", 1))
    for text in (
        "[3]",
        "a: b",
        "- {package: p, stated: s}",
        "- {package: p, stated: s, photographs: [{file: a}]}",
        "[",
    ):
        path.write_text(text)
        with pytest.raises(PhotographListError, match="is not a list of photographs"):
            read(path)
    with pytest.raises(PhotographListError, match="twice"):
        read(listed(path, one=[picture], other=[picture]))


def test_files_are_found_by_their_content_and_what_is_missing_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = tmp_path / "unpacked"
    named = save(here / "usr/share/a.png", 1)
    copy = save(here / "small.png", 2)
    gone, other = save(tmp_path / "gone.png", 3), save(tmp_path / "other.png", 4)
    scaled = entry(gone, file="large.png", copy=hashlib.sha256(copy.read_bytes()).hexdigest())
    path = listed(tmp_path / "list.yaml", first=[entry(named, file="b.png"), scaled], second=[entry(other)])
    monkeypatch.setattr(free_photographs, "read", lambda: read(path))
    monkeypatch.setattr(free_photographs, "USUAL_FOLDERS", [])
    out = tmp_path / "out"
    for _ in range(2):  # again is the same
        assert main([str(out), "--from", str(here)]) == 1
        told = capsys.readouterr()
        assert "2 of 3 photographs" in told.out and "1 of them as smaller copies" in told.out
        assert "second 1-1 (trixie): other.png" in told.err and "apt install second" in told.err
        assert "apt install first" not in told.err
        assert {file.name: file.resolve() for file in out.iterdir()} == {"000-b.png": named, "001-large.png": copy}
    other.rename(here / "found.png")
    assert main([str(out), "--from", str(here)]) == 0
    assert (out / "002-other.png").resolve() == here / "found.png"
    assert main([str(out), "--from", str(tmp_path / "nowhere")]) == 2
    assert "There is no folder" in capsys.readouterr().err


@pytest.mark.integration  # it starts git
def test_what_a_repository_had_once_is_found_in_its_history(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    picture = save(clone / "old.png", 1)
    wanted = entry(picture, commit="0" * 40)
    content = picture.read_bytes()

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.org"]
        command = ["git", "-C", str(clone), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", "old.png")
    git("commit", "-qm", "One")
    wanted["blob"] = git("rev-parse", "HEAD:old.png")
    git("rm", "-q", "old.png")
    git("commit", "-qm", "None")
    assert not picture.exists()
    photographs = read(listed(tmp_path / "list.yaml", some=[wanted]))
    assert collect(photographs, [clone], tmp_path / "out") == ([], 0)
    assert (tmp_path / "out/000-old.png").read_bytes() == content
    assert collect(photographs, [tmp_path / "out"], tmp_path / "again")[0] == []
    assert collect(photographs, [tmp_path / "again/none"], tmp_path / "third")[0] == photographs


def test_credits_replace_the_last_section_alone(tmp_path: Path) -> None:
    photographs = read(listed(tmp_path / "list.yaml", some=[entry(save(tmp_path / "a.png", 1))]))
    text = with_credits("livesr\n\nFont: captions.otf\n", photographs)
    assert text.startswith("livesr\n\nFont: captions.otf\n\n") and "Ann: a.png" in text
    assert "creativecommons.org/publicdomain/zero/1.0" in text
    assert with_credits(text, photographs) == text
