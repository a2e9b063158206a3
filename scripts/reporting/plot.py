"""The plot of docs/quality.md: PSNR over the time of one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.errors import UserError


class PlotError(UserError):
    """The plot cannot be made."""


@dataclass(frozen=True)
class PointStyle:
    """How points look: matplotlib's marker, colours on white and on black, filled or not."""

    label: str
    marker: str
    light: str
    dark: str
    filled: bool = True


INT8_STYLE = PointStyle("ours, int8", "o", "#0a7d33", "#4cd07d")
BF16_STYLE = PointStyle("ours, fp32 file as the processor computes it", "s", "#1d5fbf", "#7db1ff")
F32_STYLE = PointStyle("ours, fp32", "^", "#7a4fb5", "#c3a1f0")
PEER_STYLE = PointStyle("peer, measured in OpenCV's dnn_superres", "D", "#b3261e", "#ff8a80")
PUBLISHED_STYLE = PointStyle(
    "PSNR as published, at the time measured for the same network", "D", "#b3261e", "#ff8a80", filled=False
)
BICUBIC_STYLE = PointStyle("bicubic", "X", "#555555", "#bbbbbb")


@dataclass(frozen=True)
class PlotPoint:
    """A network in the plot."""

    name: str
    ms: float
    psnr: float
    kind: PointStyle


def write(points: Sequence[PlotPoint], levels: dict[str, float], path: Path, *, dark: bool, title: str) -> None:
    """Write a PNG of `points`.

    `levels` is the PSNR of networks without a time, drawn as lines across. Raises PlotError.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise PlotError("The plot needs matplotlib", str(error), "pip install -e '.[quality]'") from None
    ink, paper, grid = ("#e6e6e6", "#0d1117", "#30363d") if dark else ("#1f2328", "#ffffff", "#d8dee4")
    figure = Figure(figsize=(8.6, 6), dpi=110, facecolor=paper, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=paper)
    for name, psnr in levels.items():
        axes.axhline(psnr, color=ink, linewidth=0.8, linestyle=":")
        place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "ha": "left", "va": "bottom"}
        axes.annotate(f"{name}, published", (0.01, psnr), color=ink, fontsize=8, **place)
    for kind in dict.fromkeys(point.kind for point in points):
        colour = kind.dark if dark else kind.light
        mine = [point for point in points if point.kind == kind]
        look: dict[str, Any] = {
            "marker": kind.marker,
            "facecolors": colour if kind.filled else "none",
            "edgecolors": colour,
        }
        axes.scatter([p.ms for p in mine], [p.psnr for p in mine], s=64, label=kind.label, zorder=3, **look)
        for point in mine:
            beside: dict[str, Any] = {
                "xytext": (0, label_offset_pt(point, points)),
                "ha": "center",
                "textcoords": "offset points",
            }
            axes.annotate(point.name, (point.ms, point.psnr), color=colour, fontsize=9, **beside)
    scale(axes, points)
    axes.set_ylabel("PSNR on Set5, dB (higher is better)")
    axes.set_title(title, fontsize=10)
    paint(axes, ink, grid)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8, facecolor=paper, edgecolor=grid, labelcolor=ink)
    try:
        figure.savefig(path, facecolor=paper)
    except OSError as error:
        raise PlotError(f"{path} cannot be written", error.strerror or str(error), "Give another --out.") from None


def label_offset_pt(point: PlotPoint, points: Sequence[PlotPoint]) -> int:
    """Return how far above the point its name stands, in typographic points.

    It stands below where another point lies just above.
    """
    crowded = any(0 < p.psnr - point.psnr < 0.2 and 0.8 < p.ms / point.ms < 1.25 for p in points)
    return -17 if crowded else 8


def scale(axes: Any, points: Sequence[PlotPoint]) -> None:
    """Set the axis of time: from left to right, logarithmic, with room for the names on the right."""
    low, high = min(p.ms for p in points) / 1.6, max(p.ms for p in points) * 2.2
    ticks = [t * 10**n for n in range(-2, 6) for t in (1, 2, 5) if low <= t * 10**n <= high]
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.margins(y=0.08)
    axes.set_xlabel("milliseconds a frame (logarithmic; further left is faster)")


def paint(axes: Any, ink: str, grid: str) -> None:
    """Give everything that is not a point the colour of text."""
    axes.tick_params(colors=ink)
    axes.grid(color=grid, linewidth=0.6)
    for text in (axes.xaxis.label, axes.yaxis.label, axes.title):
        text.set_color(ink)
    for spine in axes.spines.values():
        spine.set_color(grid)
