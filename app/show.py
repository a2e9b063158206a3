"""What is drawn on a picture for the window, in the order in which it is drawn, and the window."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.config.schema import Kiosk, Output
from app.overlays.magnifier import Lens
from app.overlays.split_sweep import Tour
from app.overlays.split_view import Wipe
from app.overlays.stats_panel import Overlay
from app.overlays.text_panel import Panel
from app.overlays.view_state import View
from app.pipeline.stats import Stats
from app.sinks import Sink
from app.sinks.window.opencv_window import Window
from app.sinks.window.window_process import Display

TITLE = "Live super-resolution"

Shown = Window | Display


def shown_in(
    windows: list[Shown], output: Output, view: View, actions: Mapping[str, Callable[[], None]], *, locked: bool
) -> list[Shown]:
    """`windows`, with the window in it that `output` asks for, if any, which obeys this view from now on.

    The one that was there stays if it is of that kind, and is closed otherwise: nobody would look after its keys.
    Raises SinkError where there is no display.
    """
    kind = None if output.headless else Display if output.isolate else Window
    for other in [window for window in windows if type(window) is not kind]:
        windows.remove(other)
        other.close()
    if kind is not None and not windows:
        windows.append(kind(TITLE, view, actions))
    for window in windows:
        window.obey(view, actions, locked=locked)
    return windows


def drawings(kiosk: Kiosk, view: View, lines: Callable[[], list[str]], stats: Stats) -> list[Sink]:
    """The sinks that draw. `lines` are the overlay's; `stats` tell when the engine is away. Raises ConfigError."""
    wipe = Wipe(view)
    caption: list[Sink] = []

    def degraded() -> bool:
        return stats.spec is not None and stats.spec.name == "bicubic" and bool(stats.spec.state)

    if kiosk.languages:
        # Here and not at the top: only this needs Pillow.
        from app.overlays import texts
        from app.overlays.caption import Caption
        from app.overlays.font import Letters

        letters, spoken = Letters(kiosk.font), texts.load(kiosk.languages, kiosk.texts)
        caption = [Caption(spoken, letters, degraded=degraded)]

        def label(lines: list[str], *, height: int, width: int) -> Panel:
            return letters.panel(lines, height=height, width=width)

        wipe = Wipe(view, before=[t.before for t in spoken], after=[t.after for t in spoken], panel=label)
    tour: list[Sink] = [Tour(view, kiosk.sweep)] if kiosk.sweep else []
    lens = Lens() if kiosk.zoom else None
    return [
        *([lens.eye] if lens else []),
        *tour,
        wipe,
        *([lens] if lens else []),
        *caption,
        Overlay(view, lines),
    ]
