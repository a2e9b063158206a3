"""What the X server says, asked before OpenCV: Qt ends the whole program where there is no display."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# From X.h and Xlib.h.
BUTTON_PRESS, MAP_NOTIFY, EVENT_SIZE = 4, 19, 192
BUTTON_PRESS_MASK, BUTTON_RELEASE_MASK, ANY_MODIFIER, GRAB_ASYNC = 4, 8, 1 << 15, 1
WHEEL_BUTTONS = {4: 1, 5: -1}
"""The buttons that X has for the wheel, and what each means: away from the user, and towards them."""
CARDINAL = 6


@dataclass(frozen=True)
class XDisplay:
    """The screen that windows open on; sizes in pixels."""

    width: int
    height: int
    managed: bool
    """Whether a window manager runs. Without one nobody carries out a request for full screen."""
    left: int
    top: int
    free_width: int
    free_height: int
    """Where windows may be: the screen without the desktop's panels."""


class ButtonEvent(ctypes.Structure):
    """XButtonEvent, padded to the size of an XEvent."""

    _fields_ = (
        *(("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send_event", ctypes.c_int)),
        *(("display", ctypes.c_void_p), ("window", ctypes.c_ulong), ("root", ctypes.c_ulong)),
        *(("subwindow", ctypes.c_ulong), ("time", ctypes.c_ulong), ("x", ctypes.c_int), ("y", ctypes.c_int)),
        *(("x_root", ctypes.c_int), ("y_root", ctypes.c_int), ("state", ctypes.c_uint), ("button", ctypes.c_uint)),
        ("rest", ctypes.c_char * EVENT_SIZE),
    )


class MapEvent(ctypes.Structure):
    """XMapEvent, padded to the size of an XEvent."""

    _fields_ = (
        *(("type", ctypes.c_int), ("serial", ctypes.c_ulong), ("send_event", ctypes.c_int)),
        *(("display", ctypes.c_void_p), ("event", ctypes.c_ulong), ("window", ctypes.c_ulong)),
        *(("override_redirect", ctypes.c_int), ("rest", ctypes.c_char * EVENT_SIZE)),
    )


def x11() -> XDisplay | None:
    """Return the default screen of DISPLAY; None if no X server answers there (Xlib, "Display Functions")."""
    with connection() as found:
        if found is None:
            return None
        xlib, display = found
        number = xlib.XDefaultScreen(display)
        # Every window manager owns this selection (ICCCM 2.0, 4.3).
        atom = ctypes.c_ulong(xlib.XInternAtom(display, b"WM_S%d" % number, 0))
        managed = bool(xlib.XGetSelectionOwner(display, atom))
        width, height = xlib.XDisplayWidth(display, number), xlib.XDisplayHeight(display, number)
        return XDisplay(width, height, managed, *((managed and work_area(xlib, display)) or (0, 0, width, height)))


def work_area(xlib: Any, display: ctypes.c_void_p) -> tuple[int, int, int, int] | None:
    """Return x, y, width, height of the screen without panels, as the window manager says; None if it does not.

    _NET_WORKAREA of the Extended Window Manager Hints: four numbers for each desktop, of which the first is taken.
    """
    kind, form, count, rest = ctypes.c_ulong(), ctypes.c_int(), ctypes.c_ulong(), ctypes.c_ulong()
    values = ctypes.POINTER(ctypes.c_long)()
    root = ctypes.c_ulong(xlib.XDefaultRootWindow(display))
    name = ctypes.c_ulong(xlib.XInternAtom(display, b"_NET_WORKAREA", 0))
    results = [ctypes.byref(result) for result in (kind, form, count, rest, values)]
    request = ctypes.c_long(0), ctypes.c_long(4), 0, ctypes.c_ulong(CARDINAL)
    if xlib.XGetWindowProperty(display, root, name, *request, *results) or not values:
        return None
    x, y, width, height = values[:4] if count.value >= 4 else (0, 0, 0, 0)
    xlib.XFree(values)
    return (x, y, width, height) if width > 0 and height > 0 else None


def tell_mapped(title: str) -> bool:
    """Tell the windows of this title once more that they are on the screen; True if there is one.

    Qt 5 can lose that event when it starts while the processor is busy (in 16 of 60 starts, twelve at a time on two
    cores; in none of 120 with this call), and then never paints: the window stays black. Sending the server's own event
    again, to the client that made the window, does no harm otherwise.
    """
    with connection() as found:
        if found is None:
            return False
        xlib, display = found
        windows = list(named(xlib, display, ctypes.c_ulong(xlib.XDefaultRootWindow(display)), title.encode()))
        for window in windows:
            event = MapEvent(type=MAP_NOTIFY, display=display, event=window, window=window)
            # No mask: to the client that made the window, not to a window manager.
            xlib.XSendEvent(display, ctypes.c_ulong(window), 0, ctypes.c_long(0), ctypes.byref(event))
            xlib.XClearArea(display, ctypes.c_ulong(window), 0, 0, 0, 0, 1)  # and ask it to paint: Expose
        xlib.XSync(display, 0)
        return bool(windows)


class WheelGrab:
    """Takes the wheel's turns over a window from the toolkit, on a connection of its own. Main thread only.

    OpenCV's Qt window enlarges its picture by itself with the wheel, by a tenth at a time, and cannot be told not to.
    """

    def __init__(self) -> None:
        self._connection = connect()
        self._grabbed: set[int] = set()

    def grab(self, title: str) -> None:
        """Take the wheel over the windows of this title. Idempotent."""
        if self._connection is None:
            return
        xlib, display = self._connection
        with ignoring_errors(xlib):  # somebody else may have grabbed it, or the window may be gone
            root = ctypes.c_ulong(xlib.XDefaultRootWindow(display))
            for window in set(named(xlib, display, root, title.encode())) - self._grabbed:
                events = ctypes.c_uint(BUTTON_PRESS_MASK | BUTTON_RELEASE_MASK)
                how = 0, events, GRAB_ASYNC, GRAB_ASYNC, ctypes.c_ulong(0), ctypes.c_ulong(0)
                for button in WHEEL_BUTTONS:
                    xlib.XGrabButton(display, button, ANY_MODIFIER, ctypes.c_ulong(window), *how)
                self._grabbed.add(window)
            xlib.XSync(display, 0)

    def turns(self) -> Iterator[tuple[int, int, int]]:
        """Yield the turns since the last call: 1 away from the user or -1 towards them, and where on the screen."""
        if self._connection is None:
            return
        xlib, display = self._connection
        event = ButtonEvent()
        while xlib.XPending(display):
            xlib.XNextEvent(display, ctypes.byref(event))
            if event.type == BUTTON_PRESS and event.button in WHEEL_BUTTONS:
                yield WHEEL_BUTTONS[event.button], event.x_root, event.y_root

    def close(self) -> None:
        """Give the wheel back. Idempotent."""
        if self._connection is not None:
            xlib, display = self._connection
            self._connection = None
            xlib.XCloseDisplay(display)


def named(xlib: Any, display: ctypes.c_void_p, window: ctypes.c_ulong, name: bytes) -> Iterator[int]:
    """Yield the windows below this one that have that name; a window manager puts them into windows of its own."""
    root, parent, count = ctypes.c_ulong(), ctypes.c_ulong(), ctypes.c_uint()
    children = ctypes.POINTER(ctypes.c_ulong)()
    results = ctypes.byref(root), ctypes.byref(parent), ctypes.byref(children), ctypes.byref(count)
    if not xlib.XQueryTree(display, window, *results) or not children:
        return
    below = [children[index] for index in range(count.value)]
    xlib.XFree(children)
    for child in below:
        text = ctypes.c_char_p()
        if xlib.XFetchName(display, ctypes.c_ulong(child), ctypes.byref(text)) and text.value is not None:
            if text.value == name:
                yield child
            xlib.XFree(text)
        yield from named(xlib, display, ctypes.c_ulong(child), name)


@contextlib.contextmanager
def connection() -> Iterator[tuple[Any, ctypes.c_void_p] | None]:
    """Open Xlib and a connection of our own to DISPLAY for the block; None if no X server answers there."""
    opened = connect()
    if opened is None:
        yield None
        return
    xlib, display = opened
    with ignoring_errors(xlib):
        try:
            yield opened
        finally:
            xlib.XCloseDisplay(display)


@contextlib.contextmanager
def ignoring_errors(xlib: Any) -> Iterator[None]:
    """Ignore errors for the block: Xlib's handler ends the program when a window goes away while we look at it."""
    ignore_errors = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda *_: 0)
    before = ctypes.c_void_p(xlib.XSetErrorHandler(ignore_errors))
    try:
        yield
    finally:
        xlib.XSetErrorHandler(before)


def connect() -> tuple[Any, ctypes.c_void_p] | None:
    """Load Xlib and open a display, which the caller closes with XCloseDisplay; None if there is neither."""
    if not os.environ.get("DISPLAY"):
        return None
    try:
        xlib = ctypes.CDLL("libX11.so.6")
    except OSError:
        return None
    xlib.XOpenDisplay.restype = xlib.XSetErrorHandler.restype = ctypes.c_void_p
    xlib.XInternAtom.restype = xlib.XGetSelectionOwner.restype = xlib.XDefaultRootWindow.restype = ctypes.c_ulong
    display = ctypes.c_void_p(xlib.XOpenDisplay(None))
    return (xlib, display) if display else None
