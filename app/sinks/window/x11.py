"""What the X server says, asked before OpenCV: Qt ends the whole program where there is no display."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

# From X.h and Xlib.h.
MAP_NOTIFY, EVENT_SIZE = 19, 192


@dataclass(frozen=True)
class XDisplay:
    """The screen that windows open on; sizes in pixels."""

    width: int
    height: int
    managed: bool
    """Whether a window manager runs. Without one nobody carries out a request for full screen."""


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
        return XDisplay(xlib.XDisplayWidth(display, number), xlib.XDisplayHeight(display, number), managed)


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
    # Xlib's own handler ends the program when a window goes away while we look at it.
    ignore_errors = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda *_: 0)
    before = ctypes.c_void_p(xlib.XSetErrorHandler(ignore_errors))
    try:
        yield opened
    finally:
        xlib.XCloseDisplay(display)
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
