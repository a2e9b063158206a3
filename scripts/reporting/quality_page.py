"""Rendering the findings of scripts/quality.py as Markdown, for docs/quality.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.evaluation.findings import Finding, Findings
from scripts.evaluation.flicker import BORDER_PX, FLICKER_FRAMES, LOW_PASS_SIGMA, STILL_LEVELS
from scripts.evaluation.webcam_set import DEGRADATION_SEED, WEBCAM_SUFFIX
from scripts.reporting import plot
from scripts.reporting.goals import goals, losses
from scripts.reporting.plot import PlotPoint
from scripts.reporting.published_figures import PRIMARY_SET, PUBLISHED_SETS, SECONDARY_SET, Published, place

SHEET_SCALES = (2, 4)
"""Scales that crops are shown of."""
CREDITS = """- Set5 and Set14 as laid out by github.com/jbhuang0604/SelfExSR: small excerpts, for comparing methods in
  research.
- Films: Intel's sample videos (github.com/intel-iot-devkit/sample-videos), licensed under CC BY 4.0
  (creativecommons.org/licenses/by/4.0); frames of them were enlarged, cropped and labelled.
- Peers: FSRCNN by github.com/Saafke/FSRCNN_Tensorflow (Apache-2.0), ESPCN by github.com/fannymonori/TF-ESPCN (MIT)."""


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table whose first `left` columns are text and whose others are figures."""
    lines = [titles, ["---" if i < left else "---:" for i in range(len(titles))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def score(entry: Finding, name: str) -> list[str]:
    """Return PSNR and SSIM on a set, as text."""
    found = entry.scores.get(name)
    return [f"{found.psnr:.2f}", f"{found.ssim:.4f}"] if found else ["", ""]


def measured(found: Findings, scale: int, names: Sequence[str]) -> str:
    """Return the table of one scale. What was not timed is only in the table of precisions."""
    rows = []
    for entry in (e for e in found.entries if e.scale == scale and e.ms is not None):
        ms, count = entry.ms or 0.0, entry.parameters
        name = f"**{entry.name}**" if entry.ours else entry.name
        cells = [cell for each in names for cell in score(entry, each)]
        how = entry.precision or ("OpenCV" if entry.name == "bicubic" else "OpenCV dnn_superres")
        rows.append([name, how, f"{count / 1000:.1f} K" if count else "", *cells, f"{ms:.1f}", f"{1000 / ms:.0f}"])
    titles = [title for each in names for title in (f"{each} PSNR", "SSIM")]
    return table(["", "computed in / by", "parameters", *titles, "ms a frame", "fps"], rows, 2)


def published(found: Findings, papers: Sequence[Published]) -> str:
    """Return the table of published figures beside ours."""
    rows = []
    for paper in papers:
        for scale, figures in paper.psnr.items():
            rival = found.find(f"{paper.rival}-x{scale}", "fp32")
            ours = [rival.scores[name].psnr for name in PUBLISHED_SETS if name in rival.scores] if rival else []
            cells = [f"{a:.2f} ({a - b:+.2f})" for a, b in zip(ours, figures, strict=False)] or ["", ""]
            described = [
                f"*{paper.name}{paper.parameters and ', ' + paper.parameters}*",
                f"*{paper.paper}*",
                f"x{scale}",
                f"*{figures[0]:.2f}*",
                f"*{figures[1]:.2f}*",
            ]
            rows.append([*described, f"{paper.rival}-x{scale}" if rival else "not shipped", *cells])
    titles = ["network", "paper", "scale", *(f"*{name}, published*" for name in PUBLISHED_SETS), "ours, fp32"]
    return table([*titles, *(f"{name}, measured" for name in PUBLISHED_SETS)], rows, 3)


def eager(found: Findings) -> str:
    """Return the median times of the networks in eager PyTorch, as text."""
    return "; ".join(
        f"{name}: {sorted(rounds)[len(rounds) // 2]:.1f} ms a frame" for name, rounds in found.eager.items()
    )


def precisions(found: Findings) -> str:
    """Return the table of what each precision loses."""
    kinds = list(dict.fromkeys(entry.precision for entry, _ in losses(found)))
    rows: dict[str, dict[str, float]] = {}
    for entry, loss in losses(found):
        rows.setdefault(entry.name, {})[entry.precision] = loss
    lines = [[n, *(f"{each[kind]:.3f}" if kind in each else "" for kind in kinds)] for n, each in rows.items()]
    return table([f"dB lost on {PRIMARY_SET}", *kinds], lines)


def cleaning(found: Findings) -> str:
    """Return the table of the degraded set."""
    plain = found.cleaning[0].score
    clean = {(each.name, each.precision): each.score for each in found.cleaning}
    rows = []
    for each in found.cleaning:
        twin = clean.get((each.name.replace(WEBCAM_SUFFIX, ""), each.precision)) if WEBCAM_SUFFIX in each.name else None
        over = f"{each.score.psnr - twin.psnr:+.2f}" if twin else ""
        figures = [f"{each.score.psnr:.2f}", f"{each.score.ssim:.4f}", f"{each.score.psnr - plain.psnr:+.2f}", over]
        rows.append([f"**{each.name}**" if WEBCAM_SUFFIX in each.name else each.name, each.precision, *figures])
    titles = ["", "computed in", "PSNR", "SSIM", "over bicubic, dB", "over the clean-trained model, dB"]
    return table(titles, rows, 2)


def flicker(found: Findings) -> str:
    """Return the table of flicker, with a row for each clip."""
    by_clip: dict[str, dict[str, float]] = {clip: {} for clip in found.clips}
    for each in found.flicker:
        by_clip[each.clip][f"{each.name} {each.precision}".strip()] = each.deviation
    names = list(dict.fromkeys(f"{each.name} {each.precision}".strip() for each in found.flicker))
    rows = []
    for clip, figures in by_clip.items():
        plain = figures["bicubic"]
        cells = [f"{figures[n]:.3f}" + (f" ({figures[n] / plain:.2f}x)" if n != "bicubic" else "") for n in names]
        rows.append([clip, found.clips[clip], *cells])
    return table(["clip", "measured on", *names], rows, 2)


def points(found: Findings, papers: Sequence[Published]) -> tuple[list[PlotPoint], dict[str, float]]:
    """Return what is plotted: all that was timed at x2, and the published PSNR of what was not."""
    kinds = {"int8": plot.INT8_STYLE, "fp32": plot.F32_STYLE}
    dots = []
    for e in (
        e
        for e in found.entries
        if e.scale == 2 and e.ms is not None and PRIMARY_SET in e.scores and WEBCAM_SUFFIX not in e.name
    ):
        other = plot.BICUBIC_STYLE if e.name == "bicubic" else plot.PEER_STYLE
        kind = kinds.get(e.precision, plot.BF16_STYLE) if e.ours else other
        dots.append(PlotPoint(e.name.removesuffix("-x2"), e.ms or 0.0, e.scores[PRIMARY_SET].psnr, kind))
    levels = {}
    for paper in (paper for paper in papers if 2 in paper.psnr):
        peer = found.find(paper.peer) if paper.peer else None
        if peer and peer.ms is not None:
            dots.append(PlotPoint(f"{paper.name}, published", peer.ms, paper.psnr[2][0], plot.PUBLISHED_STYLE))
        else:
            levels[paper.name] = paper.psnr[2][0]
    return dots, levels


def render(found: Findings, papers: Sequence[Published], about: Mapping[str, Any]) -> str:
    """Return the page."""
    names = sorted({name for entry in found.entries for name in entry.scores}, key=place)
    size = "{}x{}".format(*found.size)
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [[what, wanted, got, "yes" if met else "**no**"] for what, wanted, got, met in goals(found)]
    scales = sorted({entry.scale for entry in found.entries if entry.ours})
    return PAGE_TEMPLATE.format(
        machine=f"{about['processor']}, {about['cores']} cores; Python {about['python']}, {versions}",
        size=size,
        threads=found.threads,
        goals=table(["", "goal", "measured", "met"], lines, 2),
        eager=eager(found) or "not measured",
        tables="\n\n".join(f"### x{scale}\n\n{measured(found, scale, names)}" for scale in scales),
        published=published(found, papers),
        precisions=precisions(found),
        sheets=sheets(found),
        degraded=found.degraded,
        seed=DEGRADATION_SEED,
        cleaning=cleaning(found),
        frames=FLICKER_FRAMES,
        low_pass=f"{LOW_PASS_SIGMA:g}",
        range=f"{STILL_LEVELS:g}",
        margin=BORDER_PX,
        flicker=flicker(found),
        credits=CREDITS,
    )


def sheets(found: Findings) -> str:
    """Return the pictures of crops that were written."""
    scales = [scale for scale in SHEET_SCALES if any(entry.scale == scale and entry.ours for entry in found.entries)]
    return "\n\n".join(f"![x{scale}, three pictures of {SECONDARY_SET}](quality-x{scale}.jpg)" for scale in scales)


PAGE_TEMPLATE = """# Picture quality, measured and compared

Written by `python scripts/quality.py`, which measured all figures here in one run, except those in *italics*: they were
published by others and were not measured here.

- {machine}.
- Times: {size} in, {threads} threads for each network; all take turns, and the median of the rounds is given. Ours run
  in OpenVINO with two frames in flight, as in the app, from bytes to bytes. A speed-up is the median of the ratios of
  all rounds, not the quotient of two medians. The peers are the files that people load into OpenCV's dnn_superres
  (opencv-contrib-python-headless), each in a process of its own, one frame after the other.
- PSNR in dB and SSIM: of BT.601 luma (16..235), of 8-bit results, with a border of `scale` pixels cut, averaged over
  the pictures. SSIM has an 11x11 Gaussian window with sigma 1.5 (scikit-image).
- Computed in: `fp32`, OpenVINO set to compute in f32; `bf16`, the same file in this processor's default precision;
  `int8`, the quantised file, which the app uses where the processor is fast at int8; `fp16`, every value rounded to
  float16 (ONNX's reference evaluator), as TensorRT computes that file: it was not timed here.

<picture>
  <source media="(prefers-color-scheme: dark)" srcset="quality-plot-dark.png">
  <img alt="PSNR on Set5 over milliseconds a frame" src="quality-plot-light.png">
</picture>

## Goals

{goals}

The same networks in eager PyTorch, fp32, in the faster memory layout and with memory that the process keeps (by
default glibc returns it to the system at times, and PyTorch then takes up to three times as long):
{eager}.

## All models

{tables}

The peers' files were not trained by the papers' authors, and score lower here than the papers state.

## Against published figures

{published}

In brackets: ours minus theirs.

## What precision costs

{precisions}

## Side by side, clean pictures

The input is shown with enlarged pixels. Each crop is the one in which bicubic is furthest from the original; PSNR is
that of the whole picture. Our networks run as in the app on this machine.

{sheets}

## Webcams

{degraded}, scaled down and degraded by the pipeline that makes the training pictures of the webcam models
(scripts/training/degradation.py: blur, sensor noise at several gains, resize kernels, sharpening, MJPEG or H.264). All
models get the same pictures, with seeds from {seed} on.

{cleaning}

![{degraded}, degraded](quality-degraded.jpg)

Frames of real films, as they come out of the camera's encoder. From each film there are two crops: the one whose moving
parts have the most detail, and the one in which the first and the last column differ most:

![Frames of films](quality-webcam.jpg)

### Flicker

How much a static picture changes: the standard deviation of luma over {frames} frames at static pixels, in grey
levels, averaged over these pixels. Whether a pixel is static is judged from the film alone: its luma, low-passed by a
Gaussian of {low_pass} pixels, stays within {range} grey levels over those frames, and so does that of all pixels up to
{margin} away (scripts/flicker.py). In brackets: relative to bicubic; the goal for a webcam model is at most 1.00x.

{flicker}

## Sources and terms

{credits}
"""
