"""OpenCV's window and its keys, in the main thread."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2

from app.errors import SinkError
from app.overlays.view_state import ViewState, handle_radius
from app.pipeline.frame import OutputFrame
from app.sinks.window.pointer import Pointer
from app.sinks.window.x11 import WheelGrab, XDisplay, tell_mapped, x11
from engines.support.event_log import log_event

log = logging.getLogger(__name__)

UNKNOWN_ROOM = (1920, 1000)
"""What a window may take (width, height) in pixels when it opens on a screen of unknown size."""

FRAME_HEIGHT_PX = 32
"""What a window manager's frame adds to a window's height, about."""

DIVIDER_STEP = 0.02
"""How far an arrow key moves the divider, as a share of the picture's width."""

MAP_NOTICES = 30
"""Pictures after which a new window is notified once more that it is on the screen; at first it may not be."""

# Key codes as Qt and GTK (X11 key symbols), Windows and macOS report them.
LEFT_KEYS, RIGHT_KEYS = {65361, 2424832, 63234}, {65363, 2555904, 63235}
ESCAPE_KEYS = {27, 65307}
PLUS_KEYS, MINUS_KEYS = {ord("+"), ord("="), 65451}, {ord("-"), 65453}
"""With the keypad's, which Qt reports as the characters, and + where it is on an American keyboard without Shift."""


class OpenCvWindow:
    """Shows pictures whole and undistorted, whatever the window's shape, and turns keys into actions.

    Main thread only.
    """

    def __init__(self, title: str, view: ViewState, actions: Mapping[str, Callable[[], None]]) -> None:
        """Open the window with the first picture. Raises SinkError where there is no display.

        Keys call `actions`, which has "quit", "record", "snapshot", "stronger" and "weaker", or change `view`.
        """
        self._display = find_display()
        self._title = title
        self._opening_size = UNKNOWN_ROOM
        self._shown = (0, 0)  # size of what was shown last
        self._full: bool | None = None  # whether it fills the screen, as last set; None: not open
        self._map_notices = 0  # how many pictures are still followed by a notice
        self._wheel: WheelGrab | None = None
        self._pointer = Pointer(view, locked=False)
        self.obey(view, actions)

    def obey(self, view: ViewState, actions: Mapping[str, Callable[[], None]], *, locked: bool = False) -> None:
        """Let keys change `view` and call `actions` from now on; none does anything when they are `locked`."""
        self._view, self._actions, self._locked = view, actions, locked
        self._pointer.obey(view, locked=locked)
        if self._display is not None:
            view.screen = self._display.width, self._display.height
        if self._full is not None:
            self._measure()
        self._keys: dict[str, Callable[[], None]] = {
            "q": actions["quit"],
            "f": lambda: self._flip("fullscreen"),
            " ": lambda: self._flip("split"),
            "o": lambda: self._flip("overlay"),
            "h": lambda: self._flip("help"),
            "m": lambda: self._flip("magnifier"),
            "z": lambda: self._view.zoom_round(self._pointer.at),
            "r": actions["record"],
            "s": actions["snapshot"],
        }

    def write(self, frame: OutputFrame) -> None:
        """Show a picture, which fills the window, and handle events."""
        height, width = frame.image.shape[:2]
        if self._full is None:
            self._open(*(self._view.picture if min(self._view.picture) > 0 else (width, height)))
        self._shown = width, height
        cv2.imshow(self._title, frame.image)
        self._events()
        if self._map_notices:
            tell_mapped(self._title)
            self._map_notices -= 1
            if self._wheel is not None:
                self._wheel.grab(self._title)

    def poll(self) -> None:
        """Handle events."""
        if self._full is not None:
            self._events()

    def close(self) -> None:
        """Close the window. Idempotent."""
        if self._full is not None:
            self._full = None
            with contextlib.suppress(cv2.error):  # the close button has done it
                cv2.destroyWindow(self._title)
            cv2.pollKey()  # lets the system take it off the screen
        if self._wheel is not None:
            self._wheel.close()
            self._wheel = None

    def _open(self, width: int, height: int) -> None:
        """Open the window for pictures of this size: 1:1, or as large as fits on the screen."""
        # FREERATIO: the picture fills the window, whose shape it was prepared for. GUI_NORMAL: without Qt's tool bar.
        cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
        room = self._room()
        shrink = min(1.0, room[0] / width, room[1] / height)
        if shrink < 1:
            message = "a picture of %(width)dx%(height)d is larger than the screen, and is shown at %(percent)d %%"
            log_event(
                log, logging.INFO, "picture_shrunk", message, width=width, height=height, percent=round(100 * shrink)
            )
        self._opening_size = max(1, round(width * shrink)), max(1, round(height * shrink))
        cv2.resizeWindow(self._title, *self._opening_size)
        if self._display is not None:  # centred: window managers place it by its first size, which is small
            left, top = (max(0, outer - inner) // 2 for outer, inner in zip(room, self._opening_size, strict=True))
            cv2.moveWindow(self._title, self._display.left + left, self._display.top + top)
        cv2.setMouseCallback(self._title, self._mouse)
        self._full = False
        self._notify_mapped()
        if self._display is not None and gui_toolkit().startswith("QT"):
            self._wheel = self._wheel or WheelGrab()

    def _room(self) -> tuple[int, int]:
        """Return what the inside of a window may take, in pixels."""
        if self._display is None:
            return UNKNOWN_ROOM
        frame = FRAME_HEIGHT_PX if self._display.managed else 0
        return self._display.free_width, max(1, self._display.free_height - frame)

    def _notify_mapped(self) -> None:
        """Tell the window after each of the next pictures that it is on the screen."""
        self._map_notices = 0 if self._display is None else MAP_NOTICES

    def _events(self) -> None:
        """Handle keys and the close button, and apply what they have changed."""
        while (code := cv2.pollKey()) != -1:
            if not self._locked:
                self._key(code)
        if self._wheel is not None:
            for step, x, y in self._wheel.turns():
                left, top, _, _ = cv2.getWindowImageRect(self._title)
                self._pointer.turn(step, (x - left, y - top))
        if not self._visible():
            self._full = None
            if not self._locked:  # else the next picture opens the window again
                self._actions["quit"]()
        elif self._full != self._view.fullscreen:
            self._cover(self._view.fullscreen)
        if self._full is not None:
            self._measure()

    def _measure(self) -> None:
        """Note the window's size, for which the next picture is prepared."""
        _, _, width, height = cv2.getWindowImageRect(self._title)
        if width > 0 and height > 0:
            self._view.window = width, height

    def _visible(self) -> bool:
        """Return False once the close button has been used."""
        try:
            return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # Qt, once its last window is gone
            return False

    def _cover(self, full: bool) -> None:
        """Fill the whole screen, or become a window again."""
        self._full = full
        self._notify_mapped()  # the toolkit may take it off the screen and put it back
        state = cv2.WINDOW_FULLSCREEN if full else cv2.WINDOW_NORMAL
        cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, state)
        if self._display is not None and not self._display.managed:
            # A bare X server, as on a kiosk: nobody else makes the window larger.
            cv2.moveWindow(self._title, 0, 0)
            size = (self._display.width, self._display.height) if full else self._opening_size
            cv2.resizeWindow(self._title, *size)

    def _key(self, code: int) -> None:
        # GTK adds Shift, NumLock and the like above the lowest 16 bits, where Windows has its arrows.
        key = code if code in LEFT_KEYS | RIGHT_KEYS else code & 0xFFFF
        if key in LEFT_KEYS | RIGHT_KEYS:
            self._view.move(self._view.divider + (DIVIDER_STEP if key in RIGHT_KEYS else -DIVIDER_STEP))
        elif key in ESCAPE_KEYS:
            self._actions["quit"]()
        elif key in PLUS_KEYS | MINUS_KEYS:
            self._actions["stronger" if key in PLUS_KEYS else "weaker"]()
        elif action := self._keys.get(chr(key).lower()):  # all 16 bits: the lowest 8 of Up are those of R
            action()

    def _flip(self, name: str) -> None:
        setattr(self._view, name, not getattr(self._view, name))

    def _mouse(self, event: int, x: int, y: int, flags: int, _data: object) -> None:
        """Hand what the mouse does to the pointer, in pixels of the window."""
        if min(self._shown) <= 0 or min(self._view.window) <= 0:
            return
        # Positions come in pixels of what was shown, which until the next picture may have another size.
        at = x * self._view.window[0] / self._shown[0], y * self._view.window[1] / self._shown[1]
        if event == cv2.EVENT_MOUSEWHEEL:
            self._pointer.turn(1 if flags > 0 else -1, at)
        elif event == cv2.EVENT_LBUTTONDOWN:
            self._pointer.press(at, handle_radius(self._view.text_height(self._view.window[1])))
        elif event == cv2.EVENT_LBUTTONUP:
            self._pointer.release()
        elif event == cv2.EVENT_MOUSEMOVE:
            self._pointer.move(at, pressed=bool(flags & cv2.EVENT_FLAG_LBUTTON))


def gui_toolkit() -> str:
    """Return the name of OpenCV's GUI toolkit, such as QT5 or GTK3; "" if it was built without one."""
    return cv2.currentUIFramework() if hasattr(cv2, "currentUIFramework") else older_toolkit()


def older_toolkit() -> str:
    """Return the GUI toolkit of an OpenCV before 4.7, which has no call for it: one that old is a distribution's."""
    return "QT" if re.search(r"\bQT\d*: +YES|\bGUI: +QT", cv2.getBuildInformation()) else "GTK"


def find_display() -> XDisplay | None:
    """Return the X display; None on Wayland, which says nothing about itself. Raises SinkError if there is neither."""
    toolkit = gui_toolkit()
    if not toolkit:
        raise SinkError(
            "This OpenCV cannot open windows",
            f"OpenCV {cv2.__version__} from {Path(cv2.__file__).parent} was built without them",
            "Install opencv-python in place of opencv-python-headless, or run with --headless.",
        )
    # With XInput 2 Qt would turn its own zoom with the wheel, whatever WheelGrab keeps from it.
    os.environ.setdefault("QT_XCB_NO_XI2", "1")
    display = x11()
    # The Qt that OpenCV ships knows X11 alone, and aborts elsewhere.
    if display is None and not (os.environ.get("WAYLAND_DISPLAY") and toolkit.startswith("GTK")):
        name = os.environ.get("DISPLAY")
        raise SinkError(
            "There is no display to open a window on",
            f"DISPLAY is {name}, where no X server answers" if name else "DISPLAY is not set",
            "Run with --headless (and --record FILE), or from a desktop session.",
        )
    return display
