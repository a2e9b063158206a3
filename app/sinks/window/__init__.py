"""The window, in this process or one of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from app.config.schema import OutputConfig
from app.overlays.view_state import ViewState

if TYPE_CHECKING:
    from app.sinks.window.opencv_window import OpenCvWindow
    from app.sinks.window.window_process import WindowProcess

WINDOW_TITLE = "Live super-resolution"

WindowSink: TypeAlias = "OpenCvWindow | WindowProcess"


class PersistentWindow:
    """The window, if any, which stays on the screen from one session to the next. Main thread only."""

    def __init__(self) -> None:
        self._window: WindowSink | None = None

    def open(
        self, output: OutputConfig, view: ViewState, actions: Mapping[str, Callable[[], None]], *, locked: bool
    ) -> WindowSink | None:
        """Return the window that `output` asks for, if any; its keys change `view` and call `actions` from now on.

        The window that is there stays if it is of the right kind; else it is closed, as nobody would handle its keys.
        `locked`: keys do nothing. Raises SinkError where there is no display.
        """
        kind = _kind(output)
        if type(self._window) is not kind:
            self.close()
        if kind is None:
            return None
        if self._window is None:
            self._window = kind(WINDOW_TITLE, view, actions)
        self._window.obey(view, actions, locked=locked)
        return self._window

    def close(self) -> None:
        """Close the window, if there is one. Idempotent."""
        window, self._window = self._window, None
        if window is not None:
            window.close()


def _kind(output: OutputConfig) -> type[OpenCvWindow] | type[WindowProcess] | None:
    """Import and return the kind of window that `output` asks for, if any."""
    if output.headless:
        return None
    if output.isolate:
        from app.sinks.window.window_process import WindowProcess

        return WindowProcess
    from app.sinks.window.opencv_window import OpenCvWindow

    return OpenCvWindow
