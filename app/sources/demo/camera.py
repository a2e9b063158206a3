"""A camera that needs no device: a moving view of a drawn poster, seen through the model of a webcam."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from app.errors import SourceError
from app.pipeline.frame import Frame
from app.sources.close_guard import CloseGuard
from app.sources.demo.poster import draw_poster
from engines.base import MAX_INPUT_SIZE, MIN_INPUT_SIZE, Image, fits

NOISE_STD = 1.5
"""Standard deviation of the sensor noise, in grey levels."""
BLUR_STD_PX = 0.35
"""Standard deviation of the lens's blur, in pixels of the picture."""
MEAN_POSTER_SHARE = 0.62
"""How much of the poster's width the picture shows on average."""
JPEG_QUALITY = 88
"""The quality of the JPEG that the camera sends, on libjpeg's scale."""
NOISE_MARGIN_PX = 64
"""How much larger than the picture the noise pattern is, which is shifted at random in each frame."""


class DemoCamera:
    """Live and paced like a camera: late frames are skipped. Frame n shows the same in every run."""

    live = True
    camera = False  # it has little noise and weak blocks, and shows how faithful a model is
    paced = True

    def __init__(self, *, size: tuple[int, int] | None = None, fps: float | None = None, seed: int = 0) -> None:
        """Draw the poster. `size` (width, height) is 640x360 by default, `fps` 30. Raises SourceError."""
        self.name, self.fps = "demo", fps or 30.0
        width, height = self._size = size or (640, 360)
        if not fits(self._size):
            raise SourceError(
                f"The demo cannot make pictures of {width}x{height}",
                f"sizes go from {MIN_INPUT_SIZE[0]}x{MIN_INPUT_SIZE[1]} to {MAX_INPUT_SIZE[0]}x{MAX_INPUT_SIZE[1]}",
                "Choose one in between, for example --size 640x360.",
            )
        self._seed = seed
        poster = draw_poster(width, height)
        # Blurred once as a lens would, so that one sample a pixel is enough: averaging several in each frame would
        # take three times as long as all the rest.
        blurred = cv2.GaussianBlur(poster, (0, 0), BLUR_STD_PX * MEAN_POSTER_SHARE * _largest_step(self._size, poster))
        self._poster: Image = np.asarray(blurred, np.uint8)
        self._scene: Image = np.empty((height, width, 3), np.uint8)
        self._brighter, self._darker = _noise(width + NOISE_MARGIN_PX, height + NOISE_MARGIN_PX, seed)
        self._guard = CloseGuard(lambda: None)

    def __iter__(self) -> Iterator[Frame]:
        with self._guard as ended:
            start, index = time.monotonic(), 0
            while not ended.wait(max(0.0, start + index / self.fps - time.monotonic())):
                sent = self._send(index)
                captured = time.monotonic()
                image = cv2.imdecode(sent, cv2.IMREAD_COLOR)
                decode = time.monotonic() - captured
                yield Frame(np.asarray(image, np.uint8), index, captured, index / self.fps, decode)
                # The next frame, or the one whose time it is: the scene follows the clock, as a live one does.
                index = max(index + 1, math.floor((time.monotonic() - start) * self.fps))

    def close(self) -> None:
        """End the iteration. Idempotent."""
        self._guard.close()

    def picture(self, index: int) -> Image:
        """Return frame `index` as uint8 [H, W, 3] BGR, a function of the index and the seed alone."""
        return np.asarray(cv2.imdecode(self._send(index), cv2.IMREAD_COLOR), np.uint8)

    def _send(self, index: int) -> Image:
        """Return what the webcam sends of frame `index`: the scene scaled down, with noise, as JPEG."""
        width, height = self._size
        view = _view(index / self.fps, self._size, self._poster)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpAffine(self._poster, view, self._size, self._scene, flags, cv2.BORDER_REFLECT)
        left, top = np.random.default_rng((self._seed, index)).integers(0, NOISE_MARGIN_PX, 2)
        part = np.s_[top : top + height, left : left + width]
        cv2.add(self._scene, self._brighter[part], self._scene)
        cv2.subtract(self._scene, self._darker[part], self._scene)
        return np.asarray(cv2.imencode(".jpg", self._scene, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))[1], np.uint8)


def _largest_step(size: tuple[int, int], poster: Image) -> float:
    """Return how many pixels of the poster one of a picture of `size` covers that shows as much as there is."""
    return float(min(poster.shape[1] / size[0], poster.shape[0] / size[1]))


def _view(seconds: float, size: tuple[int, int], poster: Image) -> NDArray[np.float64]:
    """Return the map [2, 3] from a picture's pixels to the poster's: a slow pan, zoom and sway inside its edges."""
    (width, height), (down, across) = size, poster.shape[:2]

    def swing(period: float, phase: float = 0.0) -> float:
        return math.sin(2 * math.pi * (seconds / period + phase))

    step = _largest_step(size, poster) * MEAN_POSTER_SHARE * (1 + 0.22 * swing(29, 0.25))
    angle = math.radians(1.5) * swing(19)
    cosine, sine = step * math.cos(angle), step * math.sin(angle)
    # Half of what the turned view covers must stay inside on either side.
    reach_x = (cosine * width + abs(sine) * height) / 2
    reach_y = (cosine * height + abs(sine) * width) / 2
    x = across / 2 + max(0.0, across / 2 - reach_x) * swing(37, 0.75)
    y = down / 2 + max(0.0, down / 2 - reach_y) * swing(23, 0.72)
    u, v = (width - 1) / 2, (height - 1) / 2
    return np.array([[cosine, -sine, x - cosine * u + sine * v], [sine, cosine, y - sine * u - cosine * v]])


def _noise(width: int, height: int, seed: int) -> tuple[Image, Image]:
    """Return what to add to and subtract from a picture: Gaussian noise [height, width, 3], most of it grey."""
    rng = np.random.default_rng(seed)
    grey = rng.standard_normal((height, width, 1), np.float32)
    colour = rng.standard_normal((height, width, 3), np.float32)
    noise = np.rint(NOISE_STD * (0.9 * grey + 0.43 * colour))
    return np.maximum(noise, 0).astype(np.uint8), np.maximum(-noise, 0).astype(np.uint8)
