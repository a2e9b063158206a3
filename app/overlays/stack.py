"""What is drawn into a picture, in the order in which it is drawn."""

from __future__ import annotations

from collections.abc import Callable

from app.config.schema import KioskConfig
from app.overlays.magnifier import Magnifier
from app.overlays.split_sweep import SplitSweep
from app.overlays.split_view import SplitView
from app.overlays.stats_panel import StatsPanel
from app.overlays.text_panel import TextPanel
from app.overlays.view_state import ViewState
from app.pipeline.protocols import Sink
from app.pipeline.stats import Stats


def build_overlays(kiosk: KioskConfig, view: ViewState, lines: Callable[[], list[str]], stats: Stats) -> list[Sink]:
    """The sinks that draw. `lines` are the overlay's; `stats` tell when the engine is away. Raises ConfigError."""
    wipe = SplitView(view)
    caption: list[Sink] = []

    def degraded() -> bool:
        return stats.spec is not None and stats.spec.is_bicubic and not stats.spec.state.ok

    if kiosk.languages:
        # Here and not at the top: only this needs Pillow.
        from app.overlays import texts
        from app.overlays.caption import Caption
        from app.overlays.font import CaptionFont

        letters, spoken = CaptionFont(kiosk.font), texts.load(kiosk.languages, kiosk.texts)
        caption = [Caption(spoken, letters, degraded=degraded)]

        def label(lines: list[str], *, height: int, width: int) -> TextPanel:
            return letters.panel(lines, height=height, width=width)

        wipe = SplitView(view, before=[t.before for t in spoken], after=[t.after for t in spoken], panel=label)
    tour: list[Sink] = [SplitSweep(view, kiosk.sweep)] if kiosk.sweep else []
    lens = Magnifier() if kiosk.magnifier else None
    return [
        *([lens.eye] if lens else []),
        *tour,
        wipe,
        *([lens] if lens else []),
        *caption,
        StatsPanel(view, lines),
    ]
