"""OpenCV's window and its keys, in the main thread."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from app.errors import SinkError
from app.overlays.view_state import ViewState
from app.pipeline.frame import OutputFrame, letterbox
from app.sinks.window.x11 import XDisplay, tell_mapped, x11
from engines.base import Image

MAX_OPENING_SIZE = (1280, 720)
"""Largest size (width, height) in pixels that a window opens at; the user may enlarge it."""

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
        self._canvas: Image = np.empty((0, 0, 3), np.uint8)
        self._picture = self._shown = (0, 0)  # sizes of the picture shown last, without and with its bars
        self._opening_size = MAX_OPENING_SIZE
        self._full: bool | None = None  # whether it fills the screen, as last set; None: not open
        self._map_notices = 0  # how many pictures are still followed by a notice
        self.obey(view, actions)

    def obey(self, view: ViewState, actions: Mapping[str, Callable[[], None]], *, locked: bool = False) -> None:
        """Let keys change `view` and call `actions` from now on; none does anything when they are `locked`."""
        self._view, self._actions, self._locked = view, actions, locked
        self._keys: dict[str, Callable[[], None]] = {
            "q": actions["quit"],
            "f": lambda: self._flip("fullscreen"),
            " ": lambda: self._flip("split"),
            "o": lambda: self._flip("overlay"),
            "h": lambda: self._flip("help"),
            "r": actions["record"],
            "s": actions["snapshot"],
        }

    def write(self, frame: OutputFrame) -> None:
        """Show a picture and handle events."""
        height, width = frame.image.shape[:2]
        if self._full is None:
            self._open(width, height)
        shown = self._fitted(frame.image)
        self._picture, self._shown = (width, height), (shown.shape[1], shown.shape[0])
        cv2.imshow(self._title, shown)
        self._events()
        if self._map_notices:
            tell_mapped(self._title)
            self._map_notices -= 1

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

    def _open(self, width: int, height: int) -> None:
        # FREERATIO: the picture fills the canvas that _fitted() letterboxes, so nothing is stretched. GUI_NORMAL:
        # without Qt's tool bar.
        cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
        room = MAX_OPENING_SIZE if self._display is None else (self._display.width, self._display.height)
        shrink = min(1.0, min(MAX_OPENING_SIZE[0], room[0]) / width, min(MAX_OPENING_SIZE[1], room[1]) / height)
        self._opening_size = max(1, round(width * shrink)), max(1, round(height * shrink))
        cv2.resizeWindow(self._title, *self._opening_size)
        if self._display is not None:  # centred: window managers place it by its first size, which is small
            left, top = (max(0, outer - inner) // 2 for outer, inner in zip(room, self._opening_size, strict=True))
            cv2.moveWindow(self._title, left, top)
        cv2.setMouseCallback(self._title, self._mouse)
        self._full = False
        self._notify_mapped()

    def _notify_mapped(self) -> None:
        """Tell the window after each of the next pictures that it is on the screen."""
        self._map_notices = 0 if self._display is None else MAP_NOTICES

    def _fitted(self, image: Image) -> Image:
        """Return `image` itself if the window has its size, else the canvas with it scaled between black bars."""
        _, _, width, height = cv2.getWindowImageRect(self._title)
        if width <= 0 or height <= 0 or (width, height) == (image.shape[1], image.shape[0]):
            return image
        if self._canvas.shape[:2] != (height, width):
            self._canvas = np.zeros((height, width, 3), np.uint8)
        elif self._picture != (image.shape[1], image.shape[0]):
            self._canvas.fill(0)  # the bars are elsewhere now
        x, y, inner_width, inner_height = letterbox((image.shape[1], image.shape[0]), (width, height))
        inner = self._canvas[y : y + inner_height, x : x + inner_width]
        larger = inner_width > image.shape[1]
        cv2.resize(
            image,
            (inner_width, inner_height),
            dst=inner,
            interpolation=cv2.INTER_LINEAR if larger else cv2.INTER_AREA,
        )
        return self._canvas

    def _events(self) -> None:
        """Handle keys and the close button, and apply what they have changed."""
        while (code := cv2.pollKey()) != -1:
            if not self._locked:
                self._key(code)
        if not self._visible():
            self._full = None
            if not self._locked:  # else the next picture opens the window again
                self._actions["quit"]()
        elif self._full != self._view.fullscreen:
            self._cover(self._view.fullscreen)

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
        """Let the divider follow the mouse: at an exhibition nobody looks for a button."""
        if self._view.split and event in (cv2.EVENT_MOUSEMOVE, cv2.EVENT_LBUTTONDOWN) and self._picture[0]:
            # Positions come in pixels of what was shown, bars included.
            left, _, width, _ = letterbox(self._picture, self._shown)
            self._view.move((x - left) / width)


def older_toolkit() -> str:
    """Return the GUI toolkit of an OpenCV before 4.7, which has no call for it: one that old is a distribution's."""
    return "QT" if re.search(r"\bQT\d*: +YES|\bGUI: +QT", cv2.getBuildInformation()) else "GTK"


def find_display() -> XDisplay | None:
    """Return the X display; None on Wayland, which says nothing about itself. Raises SinkError if there is neither."""
    toolkit = cv2.currentUIFramework() if hasattr(cv2, "currentUIFramework") else older_toolkit()
    if not toolkit:
        raise SinkError(
            "This OpenCV cannot open windows",
            f"OpenCV {cv2.__version__} from {Path(cv2.__file__).parent} was built without them",
            "Install opencv-python in place of opencv-python-headless, or run with --headless.",
        )
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
