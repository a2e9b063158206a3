"""Degrade a picture as a webcam does: blur, noise, sharpening, a resize, MJPEG or H.264, in random order and strength.

After the second-order degradations of Real-ESRGAN (arXiv:2107.10833), with the parts that a webcam has: noise grows
with light and gain (Foi et al., IEEE TIP 2008: variance a*I + b), its colours are blotchy from demosaicing, the
camera's own processor sharpens, and a video codec, not a single JPEG, comes last.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Random = np.random.Generator

SHOT_NOISE, READ_NOISE = 0.01, 0.3
"""Noise of a small sensor at gain 1, in grey levels of 255: the variance is SHOT_NOISE * level + READ_NOISE**2, which
is 1.6 levels at white."""
RESIZE_KERNELS = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
JPEG_SAMPLING = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422)
FILM_PICTURES = 4
"""Pictures in the piece of film whose last one is taken: H.264 looks different once it predicts from the past."""


@dataclass(frozen=True)
class Degradation:
    """The ranges that strengths are drawn from: [from, to], both included."""

    blur: tuple[float, float] = (0.4, 1.2)
    """Standard deviation of the blur, in pixels of the low resolution; drawn for each axis, then turned. Never none: a
    small lens and the interpolation of a Bayer sensor's colours take their part of any picture."""
    gain: tuple[float, float] = (1.0, 64.0)
    """Amplification of the sensor, as many times; drawn evenly on a logarithmic scale."""
    sharpen: tuple[float, float] = (0.0, 0.6)
    """Amount of the camera's own unsharp mask of one pixel."""
    jpeg: tuple[float, float] = (40, 95)
    """Quality of MJPEG."""
    crf: tuple[float, float] = (20, 34)
    """Constant rate factor of H.264 (libx264)."""
    film: float = 0.4
    """Share of pictures that go through H.264; the others go through MJPEG."""
    mild: float = 0.1
    """Share of pictures that are made small and nothing else, so that a clean picture stays one."""

    @classmethod
    def of(cls, values: dict[str, Any]) -> Degradation:
        """Make one from a recipe's mapping. Raises TypeError for an unknown key."""
        ready: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return cls(**ready)

    @classmethod
    def webcam(cls) -> Degradation:
        """Return the pipeline that the shipped webcam models learn from and are measured on."""
        return cls()

    @classmethod
    def soft_webcam(cls) -> Degradation:
        """Return what real webcams do in good light: little noise, more blur. The webcam models are measured on it."""
        return cls(blur=(0.7, 2.0), gain=(1, 10), jpeg=(50, 95), crf=(18, 30), film=0.5, mild=0)

    def low(self, high: Image, seed: int | list[int], scale: int) -> Image:
        """Return what a webcam makes of `high`, uint8 [H/scale, W/scale, 3] BGR.

        H and W of `high` must be multiples of `scale`. The same seed gives the same picture on the same libraries.
        """
        random = np.random.default_rng(seed)
        height, width = high.shape[0] // scale, high.shape[1] // scale

        def resized(picture: Floats) -> Floats:
            return resize(picture, (width, height), RESIZE_KERNELS[random.integers(len(RESIZE_KERNELS))])

        if random.random() < self.mild:
            return to_bytes(resize(high.astype(np.float32), (width, height), cv2.INTER_AREA))
        steps: list[Callable[[Floats], Floats]] = [
            # Blur and grain are sized for the small picture: on the large one they are `scale` times as coarse.
            lambda p: blur(p, self.blur, random, p.shape[0] / height),
            lambda p: add_noise(p, self._gain(random), random, p.shape[0] / height),
            resized,
        ]
        picture = high.astype(np.float32)
        for index in random.permutation(len(steps)):
            picture = steps[index](picture)
        picture = sharpen(picture, random.uniform(*self.sharpen))
        small = to_bytes(picture)
        if random.random() < self.film:
            return through_h264(small, random.uniform(*self.crf), random.integers(-3, 4, 2))
        return through_jpeg(small, int(random.integers(int(self.jpeg[0]), int(self.jpeg[1]) + 1)), random)

    def _gain(self, random: Random) -> float:
        return float(np.exp(random.uniform(*np.log(self.gain))))


def to_bytes(picture: Floats) -> Image:
    """Return the picture rounded and clipped to uint8."""
    return np.asarray(np.clip(np.round(picture), 0, 255), np.uint8)


def resize(picture: Floats, size: tuple[int, int], kernel: int) -> Floats:
    """Scale to `size` (width, height). All kernels but INTER_AREA leave aliases, as cheap cameras do."""
    return np.asarray(cv2.resize(picture, size, interpolation=kernel), np.float32)


def blur(picture: Floats, sigma: tuple[float, float], random: Random, scale: float) -> Floats:
    """Blur by an uneven Gaussian in a random direction."""
    across, along = (max(1e-3, s * scale) for s in random.uniform(*sigma, 2))
    angle, reach = random.uniform(0, np.pi), int(np.ceil(3 * max(across, along)))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.exp(-((u / across) ** 2 + (v / along) ** 2) / 2)
    return np.asarray(cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT), np.float32)


def add_noise(picture: Floats, gain: float, random: Random, scale: float) -> Floats:
    """Add shot and read noise at `gain`, made blotchy by a blur of up to 0.8 pixels of the small picture."""
    grain = random.standard_normal(picture.shape, np.float32)
    if sigma := random.uniform(0, 0.8) * scale:
        grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), sigma), np.float32)
        grain /= max(float(grain.std()), 1e-6)
    variance = gain * SHOT_NOISE * np.clip(picture, 0, 255) + (gain**0.5 * READ_NOISE) ** 2
    return np.asarray(picture + grain * np.sqrt(variance), np.float32)


def sharpen(picture: Floats, amount: float) -> Floats:
    """Sharpen by an unsharp mask of one pixel."""
    return np.asarray(picture + amount * (picture - cv2.GaussianBlur(picture, (0, 0), 1)), np.float32)


def through_jpeg(picture: Image, quality: int, random: Random) -> Image:
    """Send a picture through JPEG and back, with the halved colour planes of webcams."""
    sampling = JPEG_SAMPLING[random.integers(len(JPEG_SAMPLING))]
    done, data = cv2.imencode(
        ".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    )
    assert done
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def through_h264(picture: Image, crf: float, motion: NDArray[np.int64]) -> Image:
    """Return the last picture of a short H.264 film in which the camera moves up to `picture`.

    It moves `motion` pixels (x, y) from one picture to the next.
    """
    height, width = picture.shape[:2]
    even = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as writer:
        stream = writer.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = even.shape[1], even.shape[0], "yuv420p"
        stream.options = {"crf": f"{crf:.1f}", "preset": "veryfast", "tune": "zerolatency", "threads": "1"}
        for left in range(FILM_PICTURES - 1, -1, -1):
            shift = np.float32([[1, 0, motion[0] * left], [0, 1, motion[1] * left]])  # type: ignore[arg-type]
            moved = np.asarray(cv2.warpAffine(even, shift, even.shape[1::-1], borderMode=cv2.BORDER_REFLECT), np.uint8)
            writer.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="bgr24")))
        writer.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as reader:
        *_, last = reader.decode(video=0)
    return np.asarray(last.to_ndarray(format="bgr24"), np.uint8)[:height, :width]
