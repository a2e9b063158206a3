"""What a soak has seen, compared with what was promised, as Markdown."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import av
import numpy as np

from app.sinks.recording.retention import SEGMENT
from scripts.kiosk.x_server import ScreenHistory

MIN_SLOPE_HOURS = 0.5
"""Hours from which a slope counts: over minutes it is that of the start."""
KEPT_WORDS = {True: "yes", False: "NO", None: "too short to tell"}
MAX_STOP_S = 60.0
"""A recording that is stopped for longer was not: the machine's clock was set meanwhile."""


@dataclass
class Fault:
    """A fault that was injected."""

    kind: str
    at: float
    recovered: float | None = None
    """Seconds from its repair (from itself, where it needs none) to a live picture; None: never."""
    gap: float = 0.0
    """The longest time without a new picture around it, seconds."""


@dataclass(frozen=True)
class RecordingTotals:
    """What was recorded to the disk, by the program's log."""

    frames: int
    seconds: float
    stops: int
    stopped: float
    """Seconds without a recording after its disk had failed, to the next whole one each."""


@dataclass(frozen=True)
class SoakOutcome:
    """The outcome of a soak."""

    command: str
    hours: float
    status: int
    """The program's, at its end."""
    faults: Sequence[Fault]
    samples: Sequence[tuple[float, float, int, int]]
    """Moments (monotonic), megabytes of the program's own memory, open files, threads."""
    seen: ScreenHistory
    segments: int
    broken: Sequence[str]
    """Names of those that do not play."""
    recorded: RecordingTotals


@dataclass(frozen=True)
class Promise:
    """A line of the verdict. `kept` is None if the run was too short to tell."""

    text: str
    kept: bool | None
    measured: str


def events(log: str) -> Iterator[dict[str, Any]]:
    """Yield the events in a log that was written with --log-format json.

    Lines that are no JSON objects are passed over: libraries write to standard error, too.
    """
    for line in log.splitlines():
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict) and event.get("event"):
                yield event


def recorded(log: str) -> RecordingTotals:
    """Add up what a program's log says about its recordings.

    A stop during which the clock was set counts as nothing.
    """
    frames, seconds, stops, stopped, since = 0, 0.0, 0, 0.0, None
    for event in events(log):
        at = datetime.fromisoformat(event["time"])
        match event["event"]:
            case "recording_finished":
                frames, seconds = frames + event["frames"], seconds + event["seconds"]
            case "recording_failed":
                stops, since = stops + 1, at
                # Some failures are of no file in particular.
                frames, seconds = frames + event.get("frames", 0), seconds + event.get("seconds", 0.0)
            case "recording_resumed" if since is not None:
                span = (at - since).total_seconds()
                stopped += span if 0 <= span < MAX_STOP_S else 0.0
                since = None
    return RecordingTotals(frames, seconds, stops, stopped)


def segments(folder: Path) -> tuple[int, list[str]]:
    """Return the number of segments, and the names of those that do not play."""
    found = [path for path in folder.iterdir() if SEGMENT.fullmatch(path.name)]
    return len(found), [path.name for path in found if not plays(path)]


def plays(path: Path) -> bool:
    """Tell whether every picture of a recording can be decoded, and there is one."""
    try:
        with av.open(str(path)) as container:
            return sum(1 for _ in container.decode(video=0)) > 0
    except av.FFmpegError:
        return False


def slope(samples: Sequence[tuple[float, float, int, int]]) -> float:
    """Return megabytes an hour: the median of the slopes between any two samples (Theil 1950, Sen 1968).

    A short peak does not bend it. The first quarter is left out, as everything is in use for the first time then.
    """
    kept = samples[len(samples) // 4 :]
    if len(kept) < 3:
        return 0.0
    hours, memory = np.array([at for at, *_ in kept]) / 3600, np.array([memory for _, memory, *_ in kept])
    first, second = np.triu_indices(len(kept), 1)
    return float(np.median((memory[second] - memory[first]) / (hours[second] - hours[first])))


def judge(run: SoakOutcome) -> list[Promise]:
    """Return the promises, and whether each was kept."""
    faults, samples = run.faults, run.samples
    engine = sorted(fault.gap for fault in faults if fault.kind in ("engine killed", "engine hangs"))
    camera = [fault.recovered for fault in faults if fault.kind.startswith(("camera", "stream server"))]
    back = [value for value in camera if value is not None]
    lost = [fault for fault in faults if fault.recovered is None]
    grown = slope(samples)
    late = samples[len(samples) // 2 :] or [(0, 0, 0, 0)]
    early = samples[: max(1, len(samples) // 2)] or [(0, 0, 0, 0)]
    files, threads = (max(s[i] for s in late) - max(s[i] for s in early) for i in (2, 3))
    p99 = float(np.percentile(engine, 99)) if engine else 0.0
    return [
        Promise("no exit until asked, then status 0", run.status == 0, f"status {run.status}"),
        Promise("every fault recovered", not lost, f"{len(faults) - len(lost)} of {len(faults)}"),
        Promise("engine faults hidden within 0.3 s (p99)", p99 <= 0.3, f"{p99:.3f} s over {len(engine)}"),
        Promise("live again within 2 s", max(back, default=0) <= 2, f"{max(back, default=0):.2f} s at most"),
        Promise(
            "no segment unplayable",
            not run.broken,
            f"{len(run.broken)} of the {run.segments} that were kept {' '.join(run.broken)}".strip(),
        ),
        Promise(
            "memory grows less than 1 MB an hour",
            None if run.hours < MIN_SLOPE_HOURS else grown < 1,
            f"{grown:.2f} MB/h over {run.hours:.2f} h",
        ),
        Promise("no more files and threads", files <= 8 and threads <= 4, f"{files:+d} files, {threads:+d} threads"),
    ]


def report(run: SoakOutcome, promises: Sequence[Promise]) -> str:
    """Return the whole report as Markdown."""
    disk = run.recorded
    lines = [
        f"`{run.command}`: {len(run.faults)} faults, {run.seen.pictures} new pictures seen on the screen,"
        f" the longest time in which nothing moved on it {run.seen.longest:.2f} s."
        f" Recorded: {disk.frames} frames, {disk.seconds:.0f} s; lost while there was no disk: {disk.stopped:.0f} s,"
        f" {disk.stops} times.",
        "",
        "| promise | kept | measured |",
        "|---|---|---|",
        *(f"| {p.text} | {KEPT_WORDS[p.kept]} | {p.measured} |" for p in promises),
        "",
        "| fault | injected | recovered | s to live, median | s to live, most | s without a new picture, most |",
        "|---|---|---|---|---|---|",
    ]
    for kind in sorted({fault.kind for fault in run.faults}):
        some = [fault for fault in run.faults if fault.kind == kind]
        back = [fault.recovered for fault in some if fault.recovered is not None]
        gaps = max(fault.gap for fault in some)
        middle, most = (f"{value:.2f}" for value in ((np.median(back), max(back)) if back else (np.nan, np.nan)))
        lines.append(f"| {kind} | {len(some)} | {len(back)} | {middle} | {most} | {gaps:.2f} |")
    return "\n".join(lines) + "\n"
