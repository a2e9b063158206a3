#!/usr/bin/env python3
"""Measure every shipped model beside its peers, and write docs/quality.md with its pictures.

  python scripts/quality.py --sets FOLDER --peers FOLDER --clips FOLDER

--sets holds Set5, Set14 ... as for scripts/evaluate.py; --peers holds FSRCNN_x2.pb, ESPCN_x2.pb ...
(scripts/evaluation/peers.py); --clips holds films from a camera that does not move (scripts/flicker.py). Times are
measured in turns, in one run, at one size and with the same number of threads for all, so nothing else should run
meanwhile. Needs the extras `quality` and `train`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import engines
from engines.base import Engine
from engines.catalog import shipped as catalog
from engines.errors import UserError
from engines.request import EngineRequest, OpenVinoOptions
from scripts.benchmarks import timing
from scripts.common import results
from scripts.common.arguments import positive_int, positive_number, size
from scripts.common.machine import machine
from scripts.evaluation import peers, upscalers, webcam_set
from scripts.evaluation.findings import Finding, Findings, Flicker
from scripts.evaluation.flicker import FLICKER_FRAMES, Clip
from scripts.evaluation.measure import PictureSet, sets
from scripts.evaluation.upscalers import MeasuredUpscaler
from scripts.reporting import gallery, plot, quality_page
from scripts.reporting.crop_sheets import write
from scripts.reporting.goals import EAGER_SPEEDUPS
from scripts.reporting.published_figures import PRIMARY_SET, PUBLISHED_NETWORKS, PUBLISHED_SETS, SECONDARY_SET

REPORT_SCALES = (2, 3, 4)
MODEL_ORDER = ("fast", "balanced", "quality")
CLIP_WINDOWS = 2
"""Of each clip, for flicker."""


class QualityError(UserError):
    """The page cannot be made from the given folders."""


@dataclass(frozen=True)
class ReportSettings:
    """What to measure with, and for how long."""

    sets: Path
    peers: Path
    clips: Path
    out: Path
    size: tuple[int, int] = (640, 360)
    threads: int = 1
    seconds: float = 0.6
    rounds: int = 3

    @property
    def page(self) -> Path:
        """The file to write."""
        return self.out / "quality.md"


Loop = Callable[[float], float]
"""Runs for about so many seconds; returns milliseconds a frame."""


class QualityRun:
    """One run. `found` is what has been measured so far."""

    def __init__(self, settings: ReportSettings) -> None:
        """Raises UserError if something that is needed is missing, before anything is measured."""
        self.settings = settings
        folders = {folder.name: folder for folder in sets(settings.sets)}
        if not folders.keys() >= set(PUBLISHED_SETS):
            raise QualityError(
                f"{' and '.join(PUBLISHED_SETS)} are needed", f"in {settings.sets} are: {', '.join(folders)}"
            )
        self.pictures = {(n, s): PictureSet.read(folder, s) for n, folder in folders.items() for s in REPORT_SCALES}
        files = [file for file in peers.find(settings.peers) if file.scale in REPORT_SCALES]
        self.clips = read_clips(settings.clips)
        results.check(settings.page)
        self.found = Findings(settings.size, settings.threads)
        variants = [variant for file in upscalers.files([]) for variant in upscalers.variants("openvino", file)]
        self._variants = sorted(
            variants, key=lambda variant: (variant.scale, rank(variant.model.removesuffix(f"-x{variant.scale}")))
        )
        self._sheets = [
            scale for scale in quality_page.SHEET_SCALES if any(variant.scale == scale for variant in variants)
        ]
        for scale in self._sheets:
            if not self.pictures[SECONDARY_SET, scale].pairs:
                raise QualityError(
                    f"{SECONDARY_SET} has no pictures for x{scale}", f"looked in {folders[SECONDARY_SET]}"
                )
        self._stack = ExitStack()
        self._peers = {
            (file.name, file.scale): self._stack.enter_context(peers.Peer(file, settings.threads)) for file in files
        }

    def __enter__(self) -> QualityRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self) -> None:
        """Measure everything and write the pictures. Raises UserError."""
        for title, part in (
            ("times", self._times),
            ("pictures of the sets", self._scores),
            ("webcam", self._webcam),
            ("flicker", self._flicker),
            ("crops and plot", self._pictures),
        ):
            print(f"{title} ...", flush=True)
            part()

    def _times(self) -> None:
        """Time everything, in turns within a scale, for `rounds` rounds.

        The scales come one after the other, as each engine keeps its memory for as long as it is loaded.
        """
        settings = self.settings
        for scale in REPORT_SCALES:
            with ExitStack() as stack:
                timed = list(self._timed(scale, stack))
                results = timing.alternate([partial(loop, settings.seconds) for _, loop in timed], settings.rounds)
                for (rounds, _), times in zip(timed, results, strict=True):
                    rounds += times

    def _timed(self, scale: int, stack: ExitStack) -> Iterator[tuple[list[float], Loop]]:
        """Yield the list that the times belong in and what is timed.

        What has to be closed is left to `stack`.
        """
        frame, threads, entries = timing.noise(self.settings.size), self.settings.threads, self.found.entries
        entries.append(Finding("bicubic", scale, ""))
        yield entries[-1].rounds, stack.enter_context(self._loop(None, scale))
        for peer in (peer for (_, s), peer in self._peers.items() if s == scale):
            peer.upscale(frame)
            entries.append(Finding(peer.file.name, scale, ""))
            yield entries[-1].rounds, peer.seconds
        for variant in (variant for variant in self._variants if variant.scale == scale):
            entries.append(
                Finding(variant.model, scale, variant.precision, parameters=upscalers.parameters(variant.file))
            )
            if variant.precision != "fp16":  # which nothing here computes as it is typed, but slowly
                yield entries[-1].rounds, stack.enter_context(self._loop(variant, scale))
            if variant.precision == "fp32" and variant.model in EAGER_SPEEDUPS:
                eager = timing.EagerLoop(variant.file, frame, threads)
                yield self.found.eager.setdefault(variant.model, []), eager.seconds

    @contextmanager
    def _loop(self, variant: MeasuredUpscaler | None, scale: int) -> Iterator[Loop]:
        """Yield a warm engine in a loop; None stands for bicubic."""
        size, threads = self.settings.size, self.settings.threads
        engine: AbstractContextManager[Engine[Any]]
        if variant is None:
            engine = engines.load(EngineRequest("bicubic", "", size, scale=scale))
        elif variant.precision == "fp32":
            engine = upscalers.in_f32(variant.file, size, threads)
        else:
            engine = engines.load(
                EngineRequest("openvino", str(variant.file), size, openvino=OpenVinoOptions(threads=threads))
            )
        with engine as loaded:
            loop = timing.EngineLoop(loaded, timing.noise(size))
            loop.frames(2)
            first = loop.frames(3)
            yield lambda seconds: loop.frames(max(4, round(seconds * 1000 / first)))

    def _scores(self) -> None:
        runs = {(variant.model, variant.scale, variant.precision): variant.run for variant in self._variants}
        runs |= {(name, scale, ""): peer.upscale for (name, scale), peer in self._peers.items()}
        runs |= {("bicubic", scale, ""): upscalers.bicubic(scale) for scale in REPORT_SCALES}
        for entry in self.found.entries:
            for (name, scale), pictures in self.pictures.items():
                # What rounds to float16 is computed slowly, and asked for its loss alone.
                if scale == entry.scale and pictures.pairs and (entry.precision != "fp16" or name == PRIMARY_SET):
                    run = runs[entry.name, entry.scale, entry.precision]
                    entry.scores[name] = pictures.score(run)

    def _webcam(self) -> None:
        self._degraded = webcam_set.degraded(self.pictures[SECONDARY_SET, webcam_set.WEBCAM_SCALE])
        self.found.degraded = SECONDARY_SET
        self.found.cleaning = list(webcam_set.measure(self._degraded, webcam_set.models()))

    def _flicker(self) -> None:
        for clip in self.clips:
            self.found.clips[clip.name] = (
                f"{clip.size[0]}x{clip.size[1]}, {len(clip.windows)} x {FLICKER_FRAMES} frames, {clip.share:.0%} static"
            )
            plain, _ = clip.flicker_of("", "bicubic")
            self.found.flicker.append(Flicker(clip.name, "bicubic", "", plain))
            for name in webcam_set.models() or ["fast"]:
                deviation, precision = clip.flicker_of(f"{name}-x2")
                self.found.flicker.append(Flicker(clip.name, f"{name}-x2", precision, deviation))

    def _pictures(self) -> None:
        for scale in self._sheets:
            sheet = gallery.against_truth(self.pictures[SECONDARY_SET, scale], self._columns(scale))
            write(sheet, self.settings.out / f"quality-x{scale}.jpg")
        chosen = [
            name for name in webcam_set.models() if name == MODEL_ORDER[0] or webcam_set.WEBCAM_SUFFIX in name
        ] or [MODEL_ORDER[0]]
        cleaning = [("bicubic", upscalers.bicubic(2)), *self._models(chosen, 2)]
        write(gallery.against_truth(self._degraded, cleaning), self.settings.out / "quality-degraded.jpg")
        write(gallery.of_clips(self.clips, cleaning), self.settings.out / "quality-webcam.jpg")
        points, levels = quality_page.points(self.found, PUBLISHED_NETWORKS)
        size = "{}x{} -> {}x{}".format(*self.settings.size, *(2 * n for n in self.settings.size))
        title = f"x2, {size}, {self.settings.threads} threads of {machine()['processor']}"
        for shade in ("light", "dark"):
            path = self.settings.out / f"quality-plot-{shade}.png"
            plot.write(points, levels, path, dark=shade == "dark", title=title)

    def _columns(self, scale: int) -> gallery.Columns:
        peer = [(name, peer.upscale) for (name, s), peer in self._peers.items() if s == scale and name == "FSRCNN"]
        clean = dict.fromkeys(
            m.name for m in catalog.shipped() if m.scale == scale and webcam_set.WEBCAM_SUFFIX not in m.name
        )
        return [("bicubic", upscalers.bicubic(scale)), *peer, *self._models(sorted(clean, key=rank), scale)]

    def _models(self, names: Sequence[str], scale: int) -> list[tuple[str, upscalers.Run]]:
        return [(name, upscalers.through("openvino", f"{name}-x{scale}", scale)) for name in names]


def rank(name: str) -> tuple[bool, int, str]:
    """Return where a model stands in tables: from small to large, those for webcams last."""
    size = name.removesuffix(webcam_set.WEBCAM_SUFFIX)
    return webcam_set.WEBCAM_SUFFIX in name, MODEL_ORDER.index(size) if size in MODEL_ORDER else len(MODEL_ORDER), name


def read_clips(folder: Path) -> list[Clip]:
    """Return all films in a folder. Raises QualityError, FlickerError, SourceError."""
    paths = sorted(path for path in folder.glob("*") if path.suffix in (".mkv", ".mp4", ".avi", ".mov", ".webm"))
    if not paths:
        raise QualityError(f"There are no films in {folder}", "looked for .mkv, .mp4 ...", "Give another --clips.")
    return [Clip(path, CLIP_WINDOWS) for path in paths]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("sets", "peers", "clips"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="FOLDER")
    parser.add_argument(
        "--out", type=Path, default=Path("docs"), metavar="FOLDER", help="folder to write the page to [docs]"
    )
    parser.add_argument(
        "--size", type=size, default=(640, 360), metavar="WxH", help="size of the input for timing [640x360]"
    )
    parser.add_argument(
        "--threads",
        type=positive_int,
        default=machine()["cores"],
        help="threads for everything that is timed [all cores]",
    )
    parser.add_argument("--seconds", type=positive_number, default=0.6, help="duration of one turn [0.6]")
    parser.add_argument("--rounds", type=positive_int, default=3, help="rounds in which all models take turns [3]")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    options = vars(parser.parse_args(arguments))
    file = options.pop("json")
    try:
        results.check(file)
        with QualityRun(ReportSettings(**options)) as quality:
            quality.run()
            text = quality_page.render(quality.found, PUBLISHED_NETWORKS, machine())
            results.write(quality.settings.page, text)
        if file:
            figures = {"machine": machine()} | asdict(quality.found)
            results.write_json(file, figures)
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
