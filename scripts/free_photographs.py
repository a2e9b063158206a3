#!/usr/bin/env python3
"""Collect the photographs that anybody may use: python scripts/free_photographs.py data/free-photographs --from DIR ...

configs/train/data/free-photographs.yaml lists them, with SHA-256. The folders searched are those where
Debian's packages put pictures, and those of --from: unpacked packages (dpkg -x), clones of the repositories that the
list names, or any other folder that has the files. An error lists what is missing, with the commands that get it. File
names begin with the number in the list, so that a recipe has the same crops everywhere. Pictures are linked; those that
are only in a repository's history are written out.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
from engines.errors import UserError
from engines.support.atomic_file import write_atomic
from scripts.training.photograph_list import NOTICE_HEADING, Photograph, PhotographListError, attributions, read

NOTICE = Path(__file__).resolve().parents[1] / "NOTICE"
ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}
USUAL_FOLDERS = [Path("/usr/share") / name for name in ("backgrounds", "wallpapers", "palapeli", "wordpress")]


def files_by_digest(folders: Iterable[Path]) -> dict[str, Path]:
    """Return the pictures under `folders` by their SHA-256; the first by path of equal ones."""
    files: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.suffix.lower() in ENDINGS and file.is_file():
                files.setdefault(hashlib.sha256(file.read_bytes()).hexdigest(), file.resolve())
    return files


def from_history(photograph: Photograph, repositories: Sequence[Path]) -> bytes | None:
    """Return the content of a photograph that one of `repositories` has in its history; None if none has it."""
    for repository in repositories if photograph.blob else ():
        command = ["git", "-C", str(repository), "cat-file", "blob", photograph.blob]
        found = subprocess.run(command, capture_output=True, check=False)
        if found.returncode == 0 and hashlib.sha256(found.stdout).hexdigest() == photograph.sha256:
            return found.stdout
    return None


def is_repository(folder: Path) -> bool:
    """Whether `folder` is a clone, or a bare one."""
    return (folder / ".git").exists() or ((folder / "HEAD").is_file() and (folder / "objects").is_dir())


def collect(photographs: Sequence[Photograph], folders: Sequence[Path], out: Path) -> tuple[list[Photograph], int]:
    """Link or write those of `photographs` that `folders` hold into `out`.

    Returns:
        Those that are missing, and how many are there as a scaled copy only.

    Raises:
        OSError: `out` cannot be written to.
    """
    files = files_by_digest(folders)
    repositories = [folder for folder in folders if is_repository(folder)]
    missing, copies = [], 0
    out.mkdir(parents=True, exist_ok=True)
    for number, photograph in enumerate(photographs):
        target = out / f"{number:03d}-{photograph.name}"
        target.unlink(missing_ok=True)
        if file := files.get(photograph.sha256):
            target.symlink_to(file)
        elif content := from_history(photograph, repositories):
            target.write_bytes(content)
        elif file := files.get(photograph.copy):
            target.symlink_to(file)
            copies += 1
        else:
            missing.append(photograph)
    return missing, copies


def shortage(missing: Sequence[Photograph], count: int) -> PhotographListError:
    """Return what is said of photographs that are `missing` among `count`."""
    groups = [(source, list(group)) for source, group in itertools.groupby(missing, key=lambda each: each.source)]
    commands = dict.fromkeys(source.command for source, _ in groups)
    return PhotographListError(
        f"{len(missing)} of {count} free photographs are missing",
        "; ".join(f"{source.title}: {', '.join(photograph.name for photograph in group)}" for source, group in groups),
        f"Get them ({'; '.join(commands)}), and give clones and folders of unpacked packages to --from.",
    )


def with_credits(text: str, photographs: Sequence[Photograph]) -> str:
    """Return the `text` of NOTICE with its last section, which the list decides, made anew."""
    return text.partition(NOTICE_HEADING)[0].rstrip("\n") + "\n\n" + attributions(photographs)


def summary(photographs: Sequence[Photograph]) -> Iterator[str]:
    """Yield a line for each source of `photographs`: how many, how large, under which licences."""
    for source, group in itertools.groupby(photographs, key=lambda each: each.source):
        pictures = list(group)
        licences = ", ".join(sorted({photograph.licence for photograph in pictures}))
        megapixels = sum(photograph.megapixels for photograph in pictures)
        yield f"| {source.title.removeprefix('https://')} | {len(pictures)} | {megapixels:.0f} | {licences} |"


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns:
        0; 1 if photographs are missing, 2 if nothing could be done.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", help="folder to create")
    parser.add_argument("--from", type=Path, nargs="+", default=[], dest="folders", help="more folders to look in")
    parser.add_argument("--notice", action="store_true", help="write the credits into NOTICE")
    parser.add_argument("--table", action="store_true", help="print the sources, as docs/training-data.md has them")
    options = parser.parse_args(arguments)
    if not (options.out or options.notice or options.table):
        parser.error("give a folder to make, --notice or --table")
    try:
        photographs = read()
        if options.notice:
            write_atomic(NOTICE, with_credits(NOTICE.read_text(encoding="utf-8"), photographs).encode())
        if options.table:
            print(*summary(photographs), sep="\n")
        if not options.out:
            return 0
        if absent := [str(folder) for folder in options.folders if not folder.is_dir()]:
            raise PhotographListError(f"There is no folder {absent[0]}", f"looked in {Path.cwd()}", "Correct --from.")
        missing, copies = collect(photographs, [*options.folders, *USUAL_FOLDERS], options.out)
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    present = len(photographs) - len(missing)
    note = f", {copies} of them as smaller copies" if copies else ""
    print(f"{present} of {len(photographs)} photographs in {options.out}{note}")
    if missing:
        print(shortage(missing, len(photographs)), file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
