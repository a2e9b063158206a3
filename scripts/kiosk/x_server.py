"""An X server whose picture is watched in its own memory, so that nobody has to be asked what is shown."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import mss
import numpy as np

from engines.base import Image
from scripts.kiosk.fake_camera import read_code

DEFAULT_SCREEN_SIZE = (640, 360)


def screenshot(display: str) -> Image:
    """Return what any X server shows, taken in one piece and without the pointer; uint8 [H, W, 3] BGR.

    Raises mss.ScreenShotError if no server answers.
    """
    with mss.MSS(display=display) as screen:
        return np.array(screen.grab(screen.monitors[0]))[..., :3]


@dataclass
class ScreenHistory:
    """What the watcher has seen. Moments are in time.monotonic()."""

    live: float = 0.0
    """The last new picture of the camera."""
    moved: float = 0.0
    """The last change of anything on the screen."""
    longest: float = 0.0
    gaps: list[tuple[float, float]] = field(default_factory=list)
    """(when, seconds) of pauses between two pictures of the camera longer than 0.1 s."""
    pictures: int = 0


class XServer:
    """An Xvfb, and a thread that reads its screen a hundred times a second."""

    def __init__(self, folder: Path, size: tuple[int, int] = DEFAULT_SCREEN_SIZE) -> None:
        """`size` is (width, height) in pixels; `folder` holds the file of the screen."""
        self._folder, self._size = folder, size
        # Not the first number that is free: while this server is dead, somebody else's would take it.
        self._number = 1000 + os.getpid() % 50000
        self._server = self._serve(self._number)
        self.display = f":{self._number}"
        self.ended = 0.0
        """When the program was told to end; what does not move after that does not count."""
        self.seen = ScreenHistory(moved=time.monotonic(), live=time.monotonic())
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _serve(self, number: int) -> subprocess.Popen[bytes]:
        """Start the server. Raises RuntimeError if that fails, or one exists already."""
        read, write = os.pipe()
        geometry = f"{self._size[0]}x{self._size[1]}x24"
        server = subprocess.Popen(
            [
                *("Xvfb", f":{number}", "-displayfd", str(write)),
                *("-screen", "0", geometry, "-fbdir", str(self._folder), "-nolisten", "tcp"),
            ],
            pass_fds=[write],
            stderr=subprocess.DEVNULL,
        )
        os.close(write)
        with os.fdopen(read) as told:  # which is closed without a word if it ends
            if told.readline().strip() != str(number):
                raise RuntimeError(f"Xvfb ended with status {server.wait(10)}")
        memory = np.memmap(self._folder / "Xvfb_screen0", np.uint8, "r")
        header = memory[:100].view(">u4")  # XWDFile.h: size of the header, then of the colour map
        offset, pitch = int(header[0]) + 12 * int(header[19]), int(header[12])
        width, height = self._size
        whole = memory[offset : offset + pitch * height].reshape(height, pitch)
        self._view: Image = whole[:, : 4 * width].reshape(height, width, 4)
        return server

    def image(self) -> Image:
        """Return the screen, uint8 [H, W, 4] BGRX: a view of the server's memory."""
        return self._view

    def kill(self) -> None:
        """Kill the server. image() keeps what was on the screen last."""
        self._server.kill()
        self._server.wait(10)

    def restart(self) -> None:
        """Start the server again after kill(), under the same name.

        The time without a screen does not count as time in which nothing moved.
        """
        self.seen.moved = time.monotonic()  # before its black picture can be seen
        # A new file: the old one, whatever is done to it, is still being looked at.
        (self._folder / "Xvfb_screen0").unlink(missing_ok=True)
        self._server = self._serve(self._number)

    def _watch(self) -> None:
        last, number = b"", -1
        while not self._over.wait(0.01):
            image, now = self.image(), time.monotonic()
            code, some = read_code(image), image[::6, ::6, 1].tobytes()
            if some != last:
                self.seen.longest = max(self.seen.longest, now - self.seen.moved)
                last, self.seen.moved = some, now
            if code is not None and not code[1] and code[0] != number:
                if now - self.seen.live > 0.1:
                    self.seen.gaps.append((self.seen.live, now - self.seen.live))
                number, self.seen.live = code[0], now
                self.seen.pictures += 1

    def close(self) -> None:
        """End the watcher and the server."""
        self._over.set()
        self._thread.join(5)
        self.seen.longest = max(self.seen.longest, self.ended - self.seen.moved)
        self._server.terminate()
        self._server.wait(10)
