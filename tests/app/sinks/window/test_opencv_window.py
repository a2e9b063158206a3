"""The window, on a real X server, driven by real keys and a real mouse, with and without a window manager."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import SinkError
from app.overlays.view_state import ViewState
from app.pipeline.frame import letterbox
from app.sinks.window.opencv_window import OpenCvWindow, find_display, older_toolkit
from app.sinks.window.worker import ACTIONS
from app.sinks.window.x11 import MapEvent, connection, tell_mapped
from scripts.kiosk.x_server import screenshot

ROOT = Path(__file__).parents[4]
LIMIT = 60.0

# Shows a picture of two flat colours until q is pressed or the window is closed; tells its state after each frame.
CHILD = """
import json, sys, time
import numpy as np
from app.pipeline.frame import Frame, OutputFrame
from app.sinks.window.opencv_window import OpenCvWindow
from app.sinks.window.screen import Screen
from app.overlays.view_state import ViewState
width, height = int(sys.argv[1]), int(sys.argv[2])
image = np.zeros((height, width, 3), np.uint8)
image[:, : width // 2] = (0, 0, 255)
image[:, width // 2 :] = (0, 255, 0)
narrow = image[:, width // 4 : -width // 4].copy()
image[0, 0] = image[-1, -1] = (255, 0, 0)
view, told, done = ViewState(), [], []
actions = {"quit": lambda: done.append(1), "record": lambda: told.append("r"), "snapshot": lambda: told.append("s")}
actions |= {"stronger": lambda: told.append("+"), "weaker": lambda: told.append("-")}
window = OpenCvWindow("tested window", view, actions)
window.obey(view, actions, locked=sys.argv[3] == "locked")
screen = Screen(window, view, [])
before = None
while not done:
    shown = narrow if view.help else image
    frame = OutputFrame(shown, Frame(shown, 0, 0, 0))
    screen.draw(frame)
    screen.write(frame)
    state = [view.split, round(view.divider, 2), view.overlay, view.help, view.fullscreen, "".join(told)]
    if sys.argv[4:]:
        state = [view.zoom, [round(share, 3) for share in view.centre], view.magnifier, round(view.divider, 2)]
    if state != before:
        before = state
        print(json.dumps(state), flush=True)
    for _ in range(3):
        time.sleep(0.01)
        window.poll()
window.close()
print('"closed"', flush=True)
"""


class Shown:
    """A window in a process of its own."""

    def __init__(self, display: str, size: tuple[int, int], keys: str, *tells: str) -> None:
        self.display = display
        self.environment = os.environ | {"DISPLAY": display}
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(size[0]), str(size[1]), keys, *tells],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.told()
        self.id = self.until(lambda: self.do("xdotool", "search", "--name", "tested window").split()[-1:])[0]
        self.do("xdotool", "windowfocus", "--sync", self.id)

    def told(self) -> Any:
        """The next state that the process tells."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def do(self, *command: str) -> str:
        return subprocess.run(
            command, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=LIMIT
        ).stdout

    def key(self, name: str) -> Any:
        self.do("xdotool", "key", "--clearmodifiers", name)
        return self.told()

    def geometry(self) -> dict[str, int]:
        text = self.do("xdotool", "getwindowgeometry", "--shell", self.id)
        return {k: int(v) for k, v in (line.split("=") for line in text.split()) if k in ("X", "Y", "WIDTH", "HEIGHT")}

    def pixel(self, x: int, y: int) -> tuple[int, int, int]:
        """Blue, green, red of the screen itself."""
        blue, green, red = screenshot(self.display)[y, x].tolist()
        return blue, green, red

    def corner(self) -> tuple[int, int] | None:
        """Where the picture's upper left pixel, which is blue, is on the screen; xdotool counts frames twice."""
        rows, columns = np.nonzero((screenshot(self.display)[..., :3] == (255, 0, 0)).all(2))
        return (int(columns[0]), int(rows[0])) if rows.size else None

    def until(self, seen: Callable[[], Any]) -> Any:
        end = time.monotonic() + LIMIT
        while not (value := seen()):
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.05)
        return value


@contextmanager
def showing(display: str, size: tuple[int, int] = (640, 360), keys: str = "free", *tells: str) -> Iterator[Shown]:
    shown = Shown(display, size, keys, *tells)
    try:
        yield shown
    finally:
        shown.process.kill()
        shown.process.wait(LIMIT)


@contextmanager
def managed(display: str) -> Iterator[None]:
    assert shutil.which("openbox"), "openbox is missing: sudo apt install openbox wmctrl"
    environment = os.environ | {"DISPLAY": display}
    with subprocess.Popen(["openbox"], env=environment, stderr=subprocess.DEVNULL) as manager:
        end = time.monotonic() + LIMIT
        while subprocess.run(["wmctrl", "-m"], env=environment, capture_output=True).returncode:
            assert time.monotonic() < end, "openbox did not start"
            time.sleep(0.05)
        try:
            yield
        finally:
            manager.terminate()


def test_keys(display: str) -> None:
    with showing(display) as shown:
        off, on = False, True
        assert shown.key("space") == [on, 0.5, on, off, off, ""]
        assert shown.key("Right") == [on, 0.52, on, off, off, ""]
        assert shown.key("shift+Left") == [on, 0.5, on, off, off, ""]
        for name in ("Up", "Down", "Home", "Page_Up", "F1"):  # codes whose last byte is that of a letter
            shown.do("xdotool", "key", name)
        assert shown.key("Left") == [on, 0.48, on, off, off, ""]
        assert shown.key("o") == [on, 0.48, off, off, off, ""]
        assert shown.key("h") == [on, 0.48, off, on, off, ""]
        assert shown.key("r") == [on, 0.48, off, on, off, "r"]
        assert shown.key("s") == [on, 0.48, off, on, off, "rs"]
        assert shown.key("space") == [off, 0.48, off, on, off, "rs"]
        assert shown.key("q") == "closed"
        assert shown.process.wait(LIMIT) == 0


def test_escape_quits(display: str) -> None:
    with showing(display) as shown:
        assert shown.key("Escape") == "closed"


def test_the_mouse_moves_the_divider(display: str) -> None:
    with showing(display) as shown:
        shown.key("space")
        middle = {"X": (1280 - 640) // 2, "Y": (800 - 360) // 2, "WIDTH": 640, "HEIGHT": 360}
        shown.until(lambda: shown.geometry() == middle)
        shown.do("xdotool", "mousemove", str(middle["X"] + 160), str(middle["Y"] + 100))
        divider = shown.told()[1]
        while divider != 0.25:
            divider = shown.told()[1]


@pytest.mark.parametrize("manager", [False, True])
def test_full_screen_covers_the_screen(display: str, manager: bool) -> None:
    whole = {"X": 0, "Y": 0, "WIDTH": 1280, "HEIGHT": 800}
    with managed(display) if manager else nullcontext(), showing(display) as shown:
        shown.key("f")
        shown.until(lambda: shown.geometry() == whole)
        # 640x360 in 1280x800: bars of 40 pixels above and below, red left, green right, nothing stretched.
        # A picture that was fitted just before the window grew fills it until the next one.
        shown.until(lambda: shown.pixel(320, 60)[2] > 200 and shown.pixel(320, 20) == (0, 0, 0))
        assert shown.pixel(960, 400)[1] > 200
        assert shown.pixel(320, 780) == (0, 0, 0)
        shown.key("f")
        shown.until(lambda: shown.geometry()["WIDTH"] < 1280)


def test_a_window_of_another_shape_letterboxes(display: str) -> None:
    with managed(display), showing(display) as shown:
        shown.do("xdotool", "windowsize", "--sync", shown.id, "700", "700")
        shown.until(lambda: (shown.geometry()["WIDTH"], shown.geometry()["HEIGHT"]) == (700, 700))
        place = shown.geometry()
        middle, top = place["X"] + 100, place["Y"] + 30
        shown.until(lambda: shown.pixel(middle, top) == (0, 0, 0))
        assert shown.pixel(middle, place["Y"] + 350)[2] > 200


def test_a_picture_of_another_shape_leaves_nothing_of_the_last_one(display: str) -> None:
    with managed(display), showing(display) as shown:
        shown.key("f")
        shown.until(lambda: shown.pixel(320, 60)[2] > 200 and shown.pixel(320, 20) == (0, 0, 0))
        shown.key("h")  # 320x360 from now on: 711x800 on this screen
        shown.until(lambda: shown.pixel(320, 20)[2] > 200)
        assert shown.pixel(100, 400) == shown.pixel(1200, 400) == (0, 0, 0)
        assert shown.pixel(900, 20)[1] > 200


def test_a_large_picture_opens_in_a_window_that_fits(display: str) -> None:
    with showing(display, (3840, 2160)) as shown:
        assert shown.geometry()["WIDTH"] == 1280
        assert shown.geometry()["HEIGHT"] == 720


def inside(shown: Shown) -> tuple[int, int, int, int]:
    place = shown.geometry()
    return place["X"], place["Y"], place["WIDTH"], place["HEIGHT"]


@pytest.mark.parametrize("manager", [False, True])
@pytest.mark.parametrize("size", [(640, 360), (1280, 720), (960, 760)])
def test_a_picture_that_fits_opens_at_its_own_size(display: str, size: tuple[int, int], manager: bool) -> None:
    with managed(display) if manager else nullcontext(), showing(display, size) as shown:
        shown.until(lambda: inside(shown)[2:] == size)


def test_beside_a_window_manager_there_is_room_for_its_frame(display: str) -> None:
    with managed(display), showing(display, (1066, 800)) as shown:
        assert 740 <= shown.until(lambda: shown.geometry()["HEIGHT"]) < 800


@pytest.mark.parametrize("manager", [False, True])
def test_the_wheel_zooms_around_the_pointer_and_the_toolkit_does_not(display: str, manager: bool) -> None:
    with managed(display) if manager else nullcontext(), showing(display, (640, 360), "free", "zoom") as shown:
        time.sleep(1)  # its first pictures are on the screen, and the wheel is taken
        x, y = shown.until(shown.corner)
        place = str(x + 160), str(y + 90)
        shown.do("xdotool", "mousemove", *place, "click", "4")
        # What is under the pointer stays there.
        zoom, centre, _, _ = shown.told()
        assert zoom == 2 and centre == pytest.approx([0.375, 0.375], abs=0.005)
        shown.do("xdotool", "click", "4")
        zoom, centre, _, _ = shown.told()
        assert zoom == 4 and centre == pytest.approx([0.312, 0.312], abs=0.005)
        # Red ends at the middle of the picture: 320 - (200 - 80) = 200 pixels of it, four times as large.
        shown.until(lambda: shown.pixel(x + 639, y + 180)[2] > 200)
        shown.do("xdotool", "click", "5", "click", "5", "click", "5")
        while shown.told()[0]:
            pass
        # The whole picture, up to its corners: nothing else has enlarged it.
        shown.until(lambda: shown.pixel(x, y)[0] > 200 and shown.pixel(x + 639, y + 359)[0] > 200)


def test_dragging_pans_and_z_goes_round(display: str) -> None:
    with showing(display, (640, 360), "free", "zoom") as shown:
        middle = {"X": (1280 - 640) // 2, "Y": (800 - 360) // 2, "WIDTH": 640, "HEIGHT": 360}
        shown.until(lambda: shown.geometry() == middle)
        place = str(middle["X"] + 320), str(middle["Y"] + 180)
        shown.do("xdotool", "mousemove", *place)
        time.sleep(0.3)
        assert shown.key("z") == [2, [0.5, 0.5], False, 0.5]
        shown.until(lambda: shown.pixel(middle["X"] + 300, middle["Y"] + 180)[2] > 200)
        shown.do("xdotool", "mousedown", "1", "mousemove_relative", "--", "-100", "20", "mouseup", "1")
        state = shown.told()
        while state[1] != [0.578, 0.472]:
            state = shown.told()
        # The edge of the two colours came along.
        shown.until(lambda: shown.pixel(middle["X"] + 219 + 10, middle["Y"] + 180)[1] > 200)
        assert shown.pixel(middle["X"] + 219 - 10, middle["Y"] + 180)[2] > 200
        assert shown.key("z")[0] == 4
        assert shown.key("z") == [0, [0.5, 0.5], False, 0.5]
        assert shown.key("m") == [0, [0.5, 0.5], True, 0.5]


def test_locked_the_wheel_does_nothing(display: str) -> None:
    with showing(display, (640, 360), "locked", "zoom") as shown:
        time.sleep(1)
        shown.do("xdotool", "mousemove", "640", "400", "click", "4", "key", "z")
        time.sleep(0.5)
        shown.until(lambda: shown.pixel(320, 220)[0] > 200 and shown.pixel(320 + 639, 220 + 359)[0] > 200)
        shown.process.kill()
        assert shown.process.stdout is not None and shown.process.stdout.read() == ""


def take_for_unmapped(window: str) -> None:
    """Let the program believe that its window, which is on the screen, is not: what Qt does that lost the news."""
    number = int(window)
    with connection() as found:
        assert found is not None
        xlib, display = found
        event = MapEvent(type=18, display=display, event=number, window=number)  # UnmapNotify
        xlib.XSendEvent(display, ctypes.c_ulong(number), 0, ctypes.c_long(0), ctypes.byref(event))
        xlib.XSync(display, 0)


@pytest.mark.parametrize("manager", [False, True])
def test_a_window_that_missed_its_mapping_paints_when_told(
    display: str, monkeypatch: pytest.MonkeyPatch, manager: bool
) -> None:
    monkeypatch.setenv("DISPLAY", display)
    with managed(display) if manager else nullcontext(), showing(display) as shown:
        place = shown.geometry()
        left, middle = place["X"] + 20, place["Y"] + 180
        shown.until(lambda: shown.pixel(left, middle)[2] > 200)
        time.sleep(3)  # after its first pictures the program tells it by itself
        take_for_unmapped(shown.id)
        shown.key("h")  # bars to the left and right from now on
        time.sleep(0.3)
        assert shown.pixel(left, middle)[2] > 200, "it paints all the same: nothing is tested here"
        assert not tell_mapped("another window")
        assert tell_mapped("tested window")
        shown.until(lambda: shown.pixel(left, middle) == (0, 0, 0))


def test_a_window_that_missed_its_mapping_covers_the_screen_all_the_same(
    display: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISPLAY", display)
    with showing(display) as shown:
        place = shown.geometry()
        shown.until(lambda: shown.pixel(place["X"] + 20, place["Y"] + 180)[2] > 200)
        take_for_unmapped(shown.id)
        shown.key("f")
        shown.until(lambda: shown.pixel(320, 60)[2] > 200 and shown.pixel(320, 20) == (0, 0, 0))


def test_the_close_button_quits(display: str) -> None:
    with managed(display), showing(display) as shown:
        shown.until(lambda: "tested window" in shown.do("wmctrl", "-l"))
        shown.do("wmctrl", "-c", "tested window")
        assert shown.told() == "closed"
        assert shown.process.wait(LIMIT) == 0


def test_locked_keys_do_nothing_and_a_window_that_is_closed_opens_again(display: str) -> None:
    with managed(display), showing(display, keys="locked") as shown:
        shown.until(lambda: "tested window" in shown.do("wmctrl", "-l"))
        for key in ("space", "s", "Escape", "q"):
            shown.do("xdotool", "key", "--clearmodifiers", key)
        shown.do("wmctrl", "-c", "tested window")
        search = "xdotool", "search", "--name", "tested window"
        shown.until(lambda: shown.do(*search).split()[-1:] not in ([], [shown.id]))
        assert shown.process.poll() is None
        shown.process.kill()
        assert shown.process.stdout is not None and shown.process.stdout.read() == "", "no key has changed anything"


CODES = [
    (65361, 0.48),  # Left of Qt and GTK
    (0x10FF51, 0.48),  # the same with NumLock, GTK
    (2424832, 0.48),  # Windows
    (63235, 0.52),  # Right, macOS
    (65362, 0.5),  # Up
]


def test_plus_and_minus_of_both_keyboards(display: str) -> None:
    with showing(display) as shown:
        told = ""
        for key, turned in (("plus", "+"), ("equal", "+"), ("KP_Add", "+"), ("minus", "-"), ("KP_Subtract", "-")):
            told += turned
            assert shown.key(key)[-1] == told


def test_codes_of_plus_and_minus(display: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    told = list[str]()
    window = OpenCvWindow("", ViewState(), {name: partial(told.append, name) for name in ACTIONS})
    for code in (ord("+"), ord("="), 0x10FFAB, ord("-"), 0x10FFAD):  # the keypad's with NumLock, in GTK
        window._key(code)
    assert told == ["stronger"] * 3 + ["weaker"] * 2


@pytest.mark.parametrize(("code", "divider"), CODES)
def test_key_codes_of_all_systems(display: str, monkeypatch: pytest.MonkeyPatch, code: int, divider: float) -> None:
    monkeypatch.setenv("DISPLAY", display)
    view, told = ViewState(), list[str]()
    actions = {name: partial(told.append, name) for name in ACTIONS}
    window = OpenCvWindow("", view, actions)
    window._key(code)
    assert view.divider == pytest.approx(divider)
    assert not told
    window._key(0x100000 | ord("Q"))
    window._key(0xFF1B)
    assert told == ["quit", "quit"]


@pytest.mark.display  # or rather an OpenCV that can open windows
@pytest.mark.parametrize("value", [None, "", ":987", "nonsense"])
def test_no_display_is_told(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    if value is not None:
        monkeypatch.setenv("DISPLAY", value)
    with pytest.raises(SinkError, match="no display") as caught:
        find_display()
    assert "--headless" in str(caught.value)


def test_an_opencv_without_windows_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import cv2

    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "", raising=False)
    with pytest.raises(SinkError, match="cannot open windows"):
        find_display()


@pytest.mark.parametrize(
    ("told", "toolkit"),
    [
        ("  GUI:                           QT5\n    QT:                          YES (ver 5.15.8 )\n", "QT"),
        ("  GUI: \n    QT5:                         YES (ver 5.15.3)\n", "QT"),
        ("  GUI:                           GTK3\n    GTK+:                        YES (ver 3.24.33)\n", "GTK"),
        ("  GUI: \n    QT:                          NO\n    GTK+:                        YES (ver 3.24.20)\n", "GTK"),
    ],
)
def test_an_opencv_that_does_not_tell_its_toolkit(monkeypatch: pytest.MonkeyPatch, told: str, toolkit: str) -> None:
    import cv2

    monkeypatch.setattr(cv2, "getBuildInformation", lambda: told)
    assert older_toolkit() == toolkit


sizes = st.tuples(st.integers(1, 5000), st.integers(1, 5000))


@given(sizes, sizes)
def test_letterbox_fills_one_way_and_stretches_nothing(picture: tuple[int, int], area: tuple[int, int]) -> None:
    x, y, width, height = letterbox(picture, area)
    assert x >= 0
    assert y >= 0
    assert x + width <= area[0]
    assert y + height <= area[1]
    assert width == area[0] or height == area[1]
    scale = min(area[0] / picture[0], area[1] / picture[1])
    assert abs(width - picture[0] * scale) <= 1
    assert abs(height - picture[1] * scale) <= 1
