"""What is drawn on a picture for the window, in the order in which it is drawn, and the window."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.config import Kiosk
from app.lens import Lens
from app.overlay import Overlay
from app.panel import Panel
from app.sinks import Sink
from app.sinks.display import Display
from app.sinks.window import Window
from app.stats import Stats
from app.tour import Tour
from app.view import View
from app.wipe import Wipe

TITLE = "Live super-resolution"

Shown = Window | Display


def shown_in(
    windows: list[Shown], view: View, actions: Mapping[str, Callable[[], None]], *, locked: bool, apart: bool
) -> list[Shown]:
    """`windows`, with one window in it that obeys this view from now on. Raises SinkError where there is no display.

    `apart`: if it is a new one, in a process of its own.
    """
    if not windows:
        windows.append((Display if apart else Window)(TITLE, view, actions))
    windows[0].obey(view, actions, locked=locked)
    return windows


def drawings(kiosk: Kiosk, view: View, lines: Callable[[], list[str]], stats: Stats) -> list[Sink]:
    """The sinks that draw. `lines` are the overlay's; `stats` tell when the engine is away. Raises ConfigError."""
    wipe = Wipe(view)
    caption: list[Sink] = []

    def degraded() -> bool:
        return stats.spec is not None and stats.spec.name == "bicubic" and bool(stats.spec.state)

    if kiosk.languages:
        # Here and not at the top: only this needs Pillow.
        from app import texts
        from app.caption import Caption
        from app.letters import Letters

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
