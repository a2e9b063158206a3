#!/usr/bin/env python3
"""Take a picture of the kiosk in each of its states.

  python scripts/states.py docs

The shipped configuration runs on an Xvfb of 1280x720, with a fake camera (scripts/kiosk/fake_camera.py) that sees the
demo's poster, and with its engine in its own process, which is killed. Writes kiosk-STATE.jpg into the folder. Linux.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
import cv2
import psutil
import yaml

from app.sources.demo.camera import DemoCamera
from engines.base import Image
from engines.errors import UserError
from scripts.common import results
from scripts.common.checkout import ROOT
from scripts.kiosk import fake_camera
from scripts.kiosk.engine_processes import engines
from scripts.kiosk.fake_camera import FakeDevDir
from scripts.kiosk.x_server import XServer, screenshot

STATE_SCREEN_SIZE = (1280, 720)
STATE_TIMEOUT_S = 30.0
"""Seconds until there is a picture, and until the program has ended."""
STATE_JPEG_QUALITY = 88
ATTRACT_AFTER_S, SWEEP_PERIOD_S = 4.0, 16.0
"""Seconds, as in the kiosk, except that a camera that is away is given up sooner."""


class StateError(UserError):
    """A state cannot be reached, or its picture cannot be taken."""


def configuration(folder: Path) -> Path:
    """Write the kiosk's configuration, with shorter times, into `folder`; return its path."""
    data = yaml.safe_load((ROOT / "configs/kiosk.yaml").read_text())
    data["kiosk"] |= {"attract_after": ATTRACT_AFTER_S, "sweep": SWEEP_PERIOD_S}
    path = folder / "kiosk.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def first_picture(display: str) -> Image:
    """Return the first picture on the screen. Raises StateError."""
    until = time.monotonic() + STATE_TIMEOUT_S
    while time.monotonic() < until:
        if (image := screenshot(display)).std() > 20:
            return image
    raise StateError("Nothing is shown", f"within {STATE_TIMEOUT_S:g} s", "The program's own messages are above.")


def photograph(folder: Path, work: Path) -> None:
    """Write the pictures of all states into `folder`.

    Raises StateError if the program ends or shows nothing, and results.ResultError.
    """
    dev, screen = FakeDevDir(work / "dev"), XServer(work, STATE_SCREEN_SIZE)
    dev.plug()
    command = [sys.executable, __file__, "--worker", str(dev.folder), "--config", str(configuration(work))]
    app = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"DISPLAY": screen.display})

    def keep(state: str, image: Image | None = None) -> None:
        if app.poll() is not None:
            raise StateError(f"The program has ended with status {app.poll()}", "its own messages are above")
        seen = screenshot(screen.display) if image is None else image
        data = cv2.imencode(".jpg", seen, (cv2.IMWRITE_JPEG_QUALITY, STATE_JPEG_QUALITY))[1].tobytes()
        results.write(folder / f"kiosk-{state}.jpg", data)
        print(f"kiosk-{state}.jpg", flush=True)

    try:
        keep("building", first_picture(screen.display))
        time.sleep(6)
        keep("live")
        time.sleep(SWEEP_PERIOD_S / 4)
        keep("split")
        computed = engines(psutil.Process(app.pid))
        max(computed, key=lambda process: computed[process]).kill()
        time.sleep(0.3)
        keep("fallback")
        time.sleep(5)
        dev.unplug()
        time.sleep(ATTRACT_AFTER_S / 2)
        keep("lost")
        time.sleep(ATTRACT_AFTER_S)
        keep("attract")
    finally:
        app.terminate()
        app.wait(STATE_TIMEOUT_S)
        screen.close()


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["--worker"]:
        from app.application import main as run
        from app.run import exit_process

        poster = DemoCamera(size=(640, 360))
        fake_camera.scene = lambda count, size: poster.picture(count)
        fake_camera.install(Path(arguments[1]))
        exit_process(run(arguments[2:]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to write the pictures to")
    options = parser.parse_args(arguments)
    try:
        results.check(options.folder / "kiosk-building.jpg")
        with tempfile.TemporaryDirectory(prefix="states-") as work:
            photograph(options.folder, Path(work))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
