"""What --list shows: cameras with their modes, models, engines and why one cannot be used."""

from __future__ import annotations

from collections.abc import Iterator

import engines
from app.sources.devices import cameras
from engines import catalog


def listing() -> Iterator[str]:
    """Lines of text."""
    yield "Cameras"
    found = cameras()
    for camera in found:
        yield f"  {camera}"
        yield from (f"    {detail}" for detail in ([camera.by_id] if camera.by_id else []) + [*map(str, camera.modes)])
    if not found:
        yield "  none; --source demo needs none"
    yield "Models"
    for model in catalog.shipped():
        size = model.path.stat().st_size
        yield f"  {model.name:<12} x{model.scale}  {model.precision}  {size / 1024:.0f} KiB  {model.path.name}"
    yield "Engines"
    chosen = engines.choose("auto")
    for name in engines.NAMES:
        why = engines.unavailable(name)
        state = f"not available: {why}" if why else "available, chosen by auto" if name == chosen else "available"
        yield f"  {name:<12} {state}"
