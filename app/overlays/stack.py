"""What is drawn into a picture, in the order in which it is drawn."""

from __future__ import annotations

from app.config.schema import KioskConfig
from app.overlays.bicubic_mark import BicubicMark
from app.overlays.magnifier import Magnifier
from app.overlays.split_sweep import SplitSweep
from app.overlays.split_view import SplitView
from app.overlays.stats_panel import StatsPanel
from app.overlays.view_state import ViewState
from app.pipeline.protocols import Overlay
from app.pipeline.stats import Stats


def build_overlays(kiosk: KioskConfig, view: ViewState, stats: Stats, panel: StatsPanel) -> list[Overlay]:
    """Build the overlays in drawing order; `panel` comes last. `stats` say when the picture is no model's.

    Raises ConfigError for texts or a font that cannot be used.
    """

    def interpolated() -> bool:
        return stats.interpolated

    overlays: list[Overlay] = []
    magnifier = Magnifier() if kiosk.magnifier else None
    if magnifier is not None:
        overlays.append(magnifier.tracker)  # looks at the picture before anything is drawn into it
    sweep = SplitSweep(view, kiosk.sweep) if kiosk.sweep else None
    if not kiosk.languages:
        overlays.append(SplitView(view, sweep=sweep, interpolated=interpolated))
        if magnifier is not None:
            overlays.append(magnifier)
        return [*overlays, BicubicMark(view, interpolated), panel]
    # Here and not at the top: only this needs Pillow.
    from app.overlays import texts
    from app.overlays.caption import Caption
    from app.overlays.font import CaptionFont

    font, languages = CaptionFont(kiosk.font), texts.load(kiosk.languages, kiosk.texts)
    before, after = [text.before for text in languages], [text.after for text in languages]
    split = SplitView(view, before=before, after=after, render=font.panel, sweep=sweep, interpolated=interpolated)
    overlays.append(split)
    if magnifier is not None:
        overlays.append(magnifier)
    return [*overlays, Caption(languages, font, interpolated=interpolated), panel]
