"""A camera at the vendor's end: stands in for cv2.VideoCapture and for the files in /dev."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.sources import v4l2

MJPG, YUYV = (int.from_bytes(name, "little") for name in (b"MJPG", b"YUYV"))


class Driver:
    """What cv2.VideoCapture would be; a test changes how it behaves. Each picture's level is its number."""

    def __init__(self) -> None:
        self.opens = True
        self.obeys = True
        self.frames = 1000
        self.shapes: Sequence[tuple[int, ...]] = [(480, 640, 3)]
        self.age: float | None = 0.01
        self.props: dict[int, float] = {cv2.CAP_PROP_FPS: 15, cv2.CAP_PROP_FOURCC: YUYV}
        self.asked: list[int] = []
        self.args: tuple[Any, ...] = ()
        self.grabbed = self.released = 0

    def __call__(self, *args: Any) -> Driver:
        """cv2.VideoCapture(...): opened anew."""
        self.args, self.grabbed, self.released = args, 0, 0
        return self

    def isOpened(self) -> bool:
        return self.opens

    def set(self, prop: int, value: float) -> bool:
        self.asked.append(prop)
        if self.obeys:
            self.props[prop] = value
            if prop == cv2.CAP_PROP_FRAME_WIDTH:
                self.shapes = [(self.shapes[0][0], int(value), 3)]
            if prop == cv2.CAP_PROP_FRAME_HEIGHT:
                self.shapes = [(int(value), self.shapes[0][1], 3)]
        return self.obeys

    def get(self, prop: int) -> float:
        if prop == cv2.CAP_PROP_POS_MSEC:
            return 0.0 if self.age is None else (time.monotonic() - self.age) * 1000
        return self.props.get(prop, 0.0)

    def grab(self) -> bool:
        self.grabbed += 1
        return self.grabbed <= self.frames and not self.released

    def retrieve(self, image: Any = None) -> tuple[bool, Any]:
        shape = self.shapes[min(self.grabbed, len(self.shapes)) - 1]
        if image is None or image.shape != shape:
            image = np.empty(shape, np.uint8)
        image[:] = self.grabbed % 256
        return True, image

    def release(self) -> None:
        self.released += 1


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """Make `folder` the /dev of two cameras, which linuxpy will find to be none, and put a Driver behind them."""
    for name in ("video0", "video10", "video2loop"):
        (folder / name).touch()
    monkeypatch.setattr(v4l2, "DEV", folder)
    monkeypatch.setattr(v4l2, "SYS_VIDEO4LINUX", folder / "names")
    driver = Driver()
    monkeypatch.setattr(cv2, "VideoCapture", driver)
    return driver
