"""The window in a process of its own, on a real X server that is killed and comes back."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from app.errors import SinkError
from app.overlays.view_state import ViewState
from app.pipeline.frame import Frame, OutputFrame
from app.sinks.window import window_process
from app.sinks.window.window_process import WindowProcess
from app.sinks.window.worker import ACTIONS
from scripts.kiosk.fake_camera import read_code, scene
from scripts.kiosk.x_server import DEFAULT_SCREEN_SIZE, XServer
from tests.conftest import Crowded

pytestmark = pytest.mark.integration

LIMIT = 60.0


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[XServer]:
    made = XServer(tmp_path)
    monkeypatch.setenv("DISPLAY", made.display)
    yield made
    made.close()


class Shown:
    """A Display, fed with pictures that are numbered and can be read off the screen."""

    def __init__(self, screen: XServer, hang_timeout_s: float = window_process.WINDOW_HANG_TIMEOUT_S) -> None:
        self.screen, self.view, self.told = screen, ViewState(fullscreen=True), list[str]()
        actions = {name: partial(self.told.append, name) for name in ACTIONS}
        self.display = WindowProcess("tested window", self.view, actions, hang_timeout_s=hang_timeout_s)
        self.count = 0

    def picture(self, size: tuple[int, int] = DEFAULT_SCREEN_SIZE) -> None:
        self.count = (self.count + 1) % 256
        image = scene(self.count, size)
        self.display.write(OutputFrame(image, Frame(image, 0, 0.0, 0.0)))

    def until(self, true: Callable[[], object], size: tuple[int, int] = DEFAULT_SCREEN_SIZE) -> None:
        """Pictures, thirty a second, until it is so."""
        end = time.monotonic() + LIMIT
        while not true():
            assert time.monotonic() < end, self.display.problem
            self.picture(size)
            time.sleep(1 / 30)

    def seen(self) -> bool:
        """Whether one of the last pictures is on the screen."""
        code = read_code(self.screen.image())
        return code is not None and (self.count - code[0]) % 256 < 5

    def child(self) -> psutil.Process:
        (one,) = [
            child for child in psutil.Process().children() if "app.sinks.window.worker" in " ".join(child.cmdline())
        ]
        return one


@pytest.fixture
def shown(screen: XServer) -> Iterator[Shown]:
    made = Shown(screen)
    yield made
    made.display.close()
    assert not [
        child for child in psutil.Process().children() if "app.sinks.window.worker" in " ".join(child.cmdline())
    ]


@pytest.mark.display
def test_a_display_that_is_killed_is_waited_for(shown: Shown) -> None:
    for _ in range(2):
        shown.until(shown.seen)
        assert not shown.display.problem
        shown.screen.kill()
        begun, most = time.monotonic(), 0.0
        while time.monotonic() - begun < 1.0 or "the window was lost" not in shown.display.problem:
            assert time.monotonic() - begun < LIMIT, shown.display.problem
            before = time.monotonic()
            shown.picture()
            shown.display.poll()
            most = max(most, time.monotonic() - before)
            time.sleep(0.02)
        assert most < window_process.WINDOW_HANG_TIMEOUT_S / 2, "whoever makes pictures is not held up"
        shown.screen.restart()
    shown.until(shown.seen)


@pytest.mark.display
def test_pictures_of_other_sizes_and_what_is_wanted_come_through(shown: Shown) -> None:
    shown.until(shown.seen, (320, 180))
    shown.until(shown.seen, (1280, 720))
    shown.until(shown.seen, (640, 360))
    environment = os.environ | {"DISPLAY": shown.screen.display}
    for key, true in {
        "space": lambda: shown.view.split,
        "Right": lambda: shown.view.divider > 0.5,
        "o": lambda: not shown.view.overlay,
        "f": lambda: not shown.view.fullscreen,
        "r": lambda: shown.told == ["record"],
        "q": lambda: shown.told == ["record", "quit"],
    }.items():
        subprocess.run(["xdotool", "key", key], env=environment, check=True, timeout=LIMIT)
        shown.until(true)
    shown.view.fullscreen = True  # as a new configuration may want it
    shown.until(shown.seen)
    shown.display.obey(shown.view, {"quit": lambda: shown.told.append("other")}, locked=True)
    subprocess.run(["xdotool", "key", "q"], env=environment, check=True, timeout=LIMIT)
    for _ in range(10):
        shown.picture()
    assert shown.told == ["record", "quit"]


@pytest.mark.display
def test_zooming_and_dragging_come_through(shown: Shown) -> None:
    def screen_size() -> bool:
        return shown.view.window == DEFAULT_SCREEN_SIZE == shown.view.screen

    def do(*command: str) -> None:
        environment = os.environ | {"DISPLAY": shown.screen.display}
        subprocess.run(["xdotool", *command], env=environment, check=True, timeout=LIMIT)

    shown.view.picture = DEFAULT_SCREEN_SIZE  # as Screen sets it
    shown.until(lambda: shown.seen() and screen_size())
    do("mousemove", "320", "180", "click", "4")
    shown.until(lambda: shown.view.zoom == 2)
    do("mousedown", "1")
    for _ in range(5):  # one at a time, with pictures in between
        do("mousemove_relative", "--", "-40", "-20")
        for _ in range(3):
            shown.picture()
    do("mouseup", "1")
    wanted = pytest.approx((0.5 + 200 / 2 / DEFAULT_SCREEN_SIZE[0], 0.5 + 100 / 2 / DEFAULT_SCREEN_SIZE[1]), abs=0.005)
    shown.until(lambda: shown.view.centre == wanted)
    do("key", "z")
    shown.until(lambda: shown.view.zoom == 4)
    do("key", "m")
    shown.until(lambda: shown.view.magnifier)


@pytest.mark.display
def test_one_that_hangs_is_replaced(screen: XServer) -> None:
    shown = Shown(screen, hang_timeout_s=1.0)
    with contextlib.closing(shown.display):
        shown.until(shown.seen)
        before = shown.child()
        before.send_signal(signal.SIGSTOP)
        shown.until(lambda: shown.display.problem)
        shown.until(lambda: not shown.display.problem and shown.seen())
    assert not before.is_running() or before.status() == psutil.STATUS_ZOMBIE


@pytest.mark.display
def test_one_that_the_system_does_not_start_is_tried_again(shown: Shown, crowded: Crowded) -> None:
    shown.until(shown.seen)
    refused = crowded(1)
    shown.child().kill()
    shown.until(lambda: refused and not shown.display.problem and shown.seen())


@pytest.mark.display
def test_a_pause_is_none(shown: Shown) -> None:
    shown.until(shown.seen)
    child = shown.child()
    child.send_signal(signal.SIGSTOP)
    with contextlib.closing(shown.display):
        for _ in range(3):
            shown.picture()
        child.send_signal(signal.SIGCONT)
        shown.until(shown.seen)
        assert shown.child() == child and not shown.display.problem


@pytest.mark.display  # or rather an OpenCV that can open windows
def test_no_display_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":99999")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(SinkError, match="no display") as told:
        WindowProcess(
            "tested window",
            ViewState(),
            {name: lambda: None for name in ACTIONS},
        )
    assert ":99999" in told.value.facts and "--headless" in told.value.fix
