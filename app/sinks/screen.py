"""Screen: the X server's, asked before OpenCV is, because Qt ends the whole program where there is none."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Screen:
    """What windows open on."""

    width: int
    height: int
    managed: bool
    """Whether a window manager runs. Without one nobody carries out a wish for full screen."""


def x11() -> Screen | None:
    """The default screen of DISPLAY; None if no X server answers there (Xlib, "Display Functions")."""
    if not os.environ.get("DISPLAY"):
        return None
    try:
        xlib = ctypes.CDLL("libX11.so.6")
    except OSError:
        return None
    xlib.XOpenDisplay.restype = ctypes.c_void_p
    xlib.XInternAtom.restype = xlib.XGetSelectionOwner.restype = ctypes.c_ulong
    display = ctypes.c_void_p(xlib.XOpenDisplay(None))
    if not display:
        return None
    try:
        number = xlib.XDefaultScreen(display)
        # Every window manager owns this selection (ICCCM 2.0, 4.3).
        atom = ctypes.c_ulong(xlib.XInternAtom(display, b"WM_S%d" % number, 0))
        managed = bool(xlib.XGetSelectionOwner(display, atom))
        return Screen(xlib.XDisplayWidth(display, number), xlib.XDisplayHeight(display, number), managed)
    finally:
        xlib.XCloseDisplay(display)
