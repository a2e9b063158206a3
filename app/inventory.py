"""What --list shows: cameras with their modes, models, and engines with why one cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import engines
from app.sources.v4l2 import cameras
from app.sources.v4l2_controls import controls_of
from engines.catalog import shipped as catalog


def listing() -> Iterator[str]:
    """Yield the lines of the list."""
    yield "Cameras"
    found = cameras()
    for camera in found:
        yield f"  {camera}"
        details = [*([camera.by_id] if camera.by_id else []), *camera.modes, *controls_of(camera.path)]
        yield from (f"    {detail}" for detail in details)
    if not found:
        yield "  none; --source demo needs none"
    yield "Models"
    yield from map("  {}".format, models())
    yield "Engines"
    chosen = engines.candidates("auto")[0]
    for name in engines.ENGINE_NAMES:
        why = engines.unavailable(name)
        state = f"not available: {why}" if why else "available, chosen by auto" if name == chosen else "available"
        yield f"  {name:<12} {state}"


MODEL_COLUMNS = ("name", "scale", "parameters", "precisions", "KiB", "Set5", "Set14", "terms", "for")
NUMERIC_COLUMNS = ("parameters", "KiB", "Set5", "Set14")
"""Columns that are aligned to the right."""


def models() -> Iterator[str]:
    """Yield a table of the shipped models, a line for each name and scale; blank where the card has no figure."""
    rows: list[tuple[str, ...]] = [MODEL_COLUMNS]
    for files, card in catalog.families():
        psnr = card.psnr.get("fp32", {})
        rows.append(
            (
                files[0].name,
                f"x{files[0].scale}",
                f"{card.parameters:,}" if card.parameters else "",
                " ".join(sorted(model.precision for model in files)),
                f"{sum(model.path.stat().st_size for model in files) / 1024:.0f}",
                *(f"{psnr[name]:.2f}" if name in psnr else "" for name in ("Set5", "Set14")),
                catalog.network_terms(files),
                card.use,
            )
        )
    yield from table(rows)
    yield "Set5, Set14: PSNR of fp32 in dB; engines/models/*.md has more figures. --model NAME takes the precision that"
    yield "the engine at hand runs best, --scale N another scale; --model fast-x2-int8 is one file."


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield `rows` as lines with aligned columns; the first row has the columns' names."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(rows[0], row, widths, strict=True)
        yield "  ".join(
            f"{cell:{'>' if name in NUMERIC_COLUMNS else '<'}{width}}" for name, cell, width in cells
        ).rstrip()
