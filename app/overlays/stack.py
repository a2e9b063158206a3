"""What is drawn into a picture, in the order in which it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from app.config.schema import KioskConfig
from app.overlays.magnifier import DetailTracker, Magnifier
from app.overlays.marks.bicubic_mark import BicubicMark
from app.overlays.marks.window_marks import HelpHint, RecordingMark
from app.overlays.split_sweep import SplitSweep
from app.overlays.split_view import SplitMarks, SplitView
from app.overlays.stats_panel import StatsPanel
from app.overlays.text_panel import TextHeight, cap_height
from app.overlays.view_state import ViewState
from app.pipeline.protocols import Overlay
from app.pipeline.stats import Stats

VISITORS = 4 / 3
"""How many times as large as the figures the texts for visitors are on the screen: they stand farther away."""


@dataclass(frozen=True)
class Overlays:
    """The overlays of a session, in drawing order.

    What is part of the picture is zoomed with it. Texts and marks are drawn over it afterwards: on the screen, where
    they keep their size, and in a recording that is to have them, once more.
    """

    picture: list[Overlay] = field(default_factory=list)
    """What is part of the picture: the left side of the split view."""
    screen: list[Overlay] = field(default_factory=list)
    """What comes over the visible part in the window."""
    recording: list[Overlay] = field(default_factory=list)
    """What comes over the whole picture where that is recorded."""


def build_overlays(
    kiosk: KioskConfig,
    view: ViewState,
    stats: Stats,
    lines: Callable[[], list[str]],
    recording: Callable[[], bool],
    *,
    window: bool,
    recorded: bool,
) -> Overlays:
    """Build the overlays. Raises ConfigError for texts or a font that cannot be used.

    Args:
        kiosk: What is asked for.
        view: What the keys have changed.
        stats: Say when the picture is no model's.
        lines: Returns the figures as they stand now.
        recording: Returns whether pictures are being recorded now.
        window: Whether there is a window.
        recorded: Whether recordings are to have the overlays. Without either there are none.
    """
    if not window and not recorded:
        return Overlays()
    tracker = DetailTracker(view)
    sweep = SplitSweep(view, kiosk.sweep) if kiosk.sweep else None
    # The tracker comes first: it looks at the picture before anything is drawn into it.
    overlays = Overlays([tracker, SplitView(view, sweep=sweep, whole=recorded)])
    marks = _Marks(kiosk, view, stats, tracker)
    if window:
        magnifier = marks.add(overlays.screen, view.text_height, handle=True)
        overlays.screen.append(screen_panel(view, lines))
        overlays.screen.append(RecordingMark(recording, magnifier, view.text_height))
        if not kiosk.lock_keys:
            overlays.screen.append(HelpHint(view, view.text_height))
    if recorded:
        marks.add(overlays.recording, cap_height, handle=False)
        overlays.recording.append(StatsPanel(view, lines))
    return overlays


def screen_panel(view: ViewState, lines: Callable[[], list[str]]) -> StatsPanel:
    """Return the panel of a window: `lines` are the figures, to which the scale is added."""
    return StatsPanel(view, lambda: [*lines(), *filter(None, [view.scale_text()])], text_height=view.text_height)


class _Marks:
    """Builds the marks of the picture, once for each place that they are drawn in: panels keep their last size."""

    def __init__(self, kiosk: KioskConfig, view: ViewState, stats: Stats, tracker: DetailTracker) -> None:
        self._kiosk, self._view, self._stats, self._tracker = kiosk, view, stats, tracker

    def add(self, overlays: list[Overlay], text_height: TextHeight, *, handle: bool) -> Magnifier:
        """Append all marks in drawing order, and return the magnifier, which is one of them."""
        view, kiosk = self._view, self._kiosk
        magnifier = Magnifier(view, self._tracker, text_height=text_height)
        if not kiosk.languages:
            split = SplitMarks(view, interpolated=self._interpolated, text_height=text_height, handle=handle)
            overlays += [split, magnifier, BicubicMark(view, self._interpolated, text_height)]
            return magnifier
        # Here and not at the top: only this needs Pillow.
        from app.overlays import texts
        from app.overlays.caption import Caption
        from app.overlays.font import CaptionFont

        def larger(height: int) -> int:
            return round(VISITORS * text_height(height))

        font, languages = CaptionFont(kiosk.font), texts.load(kiosk.languages, kiosk.texts)
        before, after = [text.before for text in languages], [text.after for text in languages]
        height = larger if text_height == view.text_height else text_height
        overlays += [
            SplitMarks(
                view,
                before=before,
                after=after,
                render=font.panel,
                interpolated=self._interpolated,
                text_height=height,
                handle=handle,
            ),
            magnifier,
            Caption(languages, font, interpolated=self._interpolated, text_height=height),
        ]
        return magnifier

    def _interpolated(self) -> bool:
        return self._stats.interpolated
