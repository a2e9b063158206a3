"""The window, in this process or one of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.config.schema import OutputConfig
from app.overlays.view_state import ViewState
from app.sinks.window.opencv_window import OpenCvWindow
from app.sinks.window.window_process import WindowProcess

TITLE = "Live super-resolution"


WindowSink = OpenCvWindow | WindowProcess


class PersistentWindow:
    """The window, if any, which stays on the screen from one session to the next. Main thread only."""

    def __init__(self) -> None:
        self._windows: list[WindowSink] = []

    def open(
        self,
        output: OutputConfig,
        view: ViewState,
        actions: Mapping[str, Callable[[], None]],
        *,
        locked: bool,
    ) -> list[WindowSink]:
        """Return the window that `output` asks for, if any, which obeys this view from now on.

        The one that was there stays if it is of that kind, and is closed otherwise: nobody would look after its keys.
        Raises SinkError where there is no display.
        """
        kind = None if output.headless else WindowProcess if output.isolate else OpenCvWindow
        for other in [window for window in self._windows if type(window) is not kind]:
            self._windows.remove(other)
            other.close()
        if kind is not None and not self._windows:
            self._windows.append(kind(TITLE, view, actions))
        for window in self._windows:
            window.obey(view, actions, locked=locked)
        return self._windows

    def close(self) -> None:
        """Close the window. Idempotent."""
        for window in self._windows:
            window.close()
        self._windows.clear()
