"""The window, in this process or one of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.config.schema import OutputConfig
from app.overlays.view_state import ViewState
from app.sinks.window.opencv_window import OpenCvWindow
from app.sinks.window.window_process import WindowProcess

TITLE = "Live super-resolution"


WindowSink = OpenCvWindow | WindowProcess


def open_window(
    windows: list[WindowSink],
    output: OutputConfig,
    view: ViewState,
    actions: Mapping[str, Callable[[], None]],
    *,
    locked: bool,
) -> list[WindowSink]:
    """`windows`, with the window in it that `output` asks for, if any, which obeys this view from now on.

    The one that was there stays if it is of that kind, and is closed otherwise: nobody would look after its keys.
    Raises SinkError where there is no display.
    """
    kind = None if output.headless else WindowProcess if output.isolate else OpenCvWindow
    for other in [window for window in windows if type(window) is not kind]:
        windows.remove(other)
        other.close()
    if kind is not None and not windows:
        windows.append(kind(TITLE, view, actions))
    for window in windows:
        window.obey(view, actions, locked=locked)
    return windows
