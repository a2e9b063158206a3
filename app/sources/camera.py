"""V4L2 devices and GStreamer pipelines, such as a Jetson's CSI camera, through OpenCV."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from app.errors import SourceError
from app.pipeline.frame import Frame, FramePool
from app.sources.close_guard import CloseGuard
from app.sources.v4l2 import listing, path_of
from app.uri import shown
from engines.base import Image
from engines.support.event_log import log_event

if TYPE_CHECKING:
    from cv2.typing import MatLike

log = logging.getLogger(__name__)

APPSINK = "appsink drop=true max-buffers=1 sync=false"
CAPTURE_TIMEOUT_MS = 8000
DEMO_HINT = "To see the program at work without a camera: --source demo"


class Camera:
    """An open camera that has delivered a picture. Live; iteration takes as long as the camera does."""

    live = True
    camera = True
    paced = True

    def __init__(
        self, source: str, api: int, *, name: str, size: tuple[int, int] | None = None, fps: float | None = None
    ) -> None:
        """Open a device file (`api` cv2.CAP_V4L2) or a pipeline (cv2.CAP_GSTREAMER). Raises SourceError.

        Use v4l2(), csi() or gstreamer() instead. `size` (width, height) and `fps` are requests; the log says what the
        driver gives.
        """
        self.name, self._v4l2 = name, api == cv2.CAP_V4L2
        self._device = Path(source) if self._v4l2 else None
        self._capture = _open(source, api)
        self._guard = CloseGuard(self._capture.release)
        self._buffers = FramePool()
        try:
            if not self._capture.isOpened():
                raise self._open_error(source)
            if self._v4l2:
                self._request_mode(size, fps)
            self._shape = self._first_picture().shape[:2]
            self.fps = max(0.0, float(self._capture.get(cv2.CAP_PROP_FPS)))
            self._log_mode(size, fps)
        except BaseException:
            self.close()
            raise

    @classmethod
    def v4l2(cls, camera: int | str, *, size: tuple[int, int] | None = None, fps: float | None = None) -> Camera:
        """Open the camera with this index or path (/dev/video0, /dev/v4l/by-id/...). Raises SourceError."""
        path = path_of(camera)
        if not path.exists():
            raise SourceError(f"There is no camera {path}", listing(), f"Choose one that was found. {DEMO_HINT}")
        if not os.access(path, os.R_OK | os.W_OK):
            raise SourceError(
                f"The camera {path} may not be opened: permission denied",
                "cameras belong to the group 'video', and this user is not in it",
                f"sudo usermod -aG video $USER, then log out and in again. {DEMO_HINT}",
            )
        return cls(str(path), cv2.CAP_V4L2, name=f"camera {path}", size=size, fps=fps)

    @classmethod
    def csi(cls, sensor: int, *, size: tuple[int, int] | None = None, fps: float | None = None) -> Camera:
        """Open a Jetson's CSI camera, whose ISP scales to `size`; 1280x720 at 30 fps by default. Raises SourceError."""
        width, height = size or (1280, 720)
        rate = Fraction(fps or 30).limit_denominator(1001)
        pipeline = (
            f"nvarguscamerasrc sensor-id={sensor}"
            f" ! video/x-raw(memory:NVMM),width={width},height={height},framerate={rate.numerator}/{rate.denominator}"
            " ! nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR"
        )
        return cls(f"{pipeline} ! {APPSINK}", cv2.CAP_GSTREAMER, name=f"camera csi:{sensor}", size=size, fps=fps)

    @classmethod
    def gstreamer(cls, pipeline: str) -> Camera:
        """Open a pipeline, with a conversion to BGR and an appsink added unless it has one. Raises SourceError."""
        if "appsink" not in pipeline:
            pipeline = f"{pipeline} ! videoconvert ! video/x-raw,format=BGR ! {APPSINK}"
        return cls(pipeline, cv2.CAP_GSTREAMER, name="GStreamer pipeline")

    def __iter__(self) -> Iterator[Frame]:
        with self._guard as ended:
            index, began, position, last = 0, None, 0.0, time.monotonic()
            while not ended.is_set():
                grabbed = self._capture.grab()
                now = time.monotonic()
                image = self._retrieve() if grabbed else None
                if image is None:
                    if not ended.is_set() and (not grabbed or now - last > CAPTURE_TIMEOUT_MS / 1000):
                        raise self._silence_error(index, now - last)
                    continue
                captured = self._capture_time(now)
                last, decode = now, time.monotonic() - now
                began = captured if began is None else began
                position = max(position, captured - began)
                yield Frame(image, index, captured, position, decode, on_release=self._buffers.release)
                index += 1

    def close(self) -> None:
        """Free the device, or have the iteration free it. Idempotent."""
        self._guard.close()

    def _request_mode(self, size: tuple[int, int] | None, fps: float | None) -> None:
        """Ask for MJPG first: uncompressed pictures fill USB 2 at a few fps, and drivers offer sizes by format."""
        self._capture.set(cv2.CAP_PROP_FOURCC, int.from_bytes(b"MJPG", "little"))
        if size is not None:
            self._capture.set(cv2.CAP_PROP_FRAME_WIDTH, size[0])
            self._capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size[1])
        if fps is not None:
            self._capture.set(cv2.CAP_PROP_FPS, fps)
        # One is filled while the other is decoded. With four, the usual number, some would hold old pictures after a
        # stall; with one alone a USB camera finds none free when a picture begins, and its rate halves.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 2)

    def _first_picture(self) -> Image:
        """Return the first good picture; some cameras begin with one or two broken ones. Raises SourceError."""
        began = time.monotonic()
        while self._capture.grab():
            good, image = self._capture.retrieve()
            if good and image is not None:
                return _bgr(image)
            if time.monotonic() - began > CAPTURE_TIMEOUT_MS / 1000:
                break
        raise SourceError(
            f"The {self.name} opens, but delivers no picture",
            f"waited {time.monotonic() - began:.1f} s; {listing() if self._v4l2 else 'the pipeline is running'}",
            "Close other programs that use it, plug it into another port (not through a hub), or ask for a smaller"
            f" --size. {DEMO_HINT}",
        )

    def _log_mode(self, size: tuple[int, int] | None, fps: float | None) -> None:
        """Log what the driver really gives, as a warning if that is not what was asked for."""
        height, width = self._shape
        fourcc = int(self._capture.get(cv2.CAP_PROP_FOURCC)) if self._v4l2 else 0
        kind = fourcc.to_bytes(4, "little").decode("latin-1").strip("\0 ") if 0 < fourcc < 1 << 32 else ""
        given = f"{width}x{height}{' ' + kind if kind else ''} at {self.fps:g} fps"
        wished = (size is not None and size != (width, height)) or (fps is not None and abs(self.fps - fps) > 0.5)
        if wished or kind not in ("", "MJPG"):
            requested = " ".join(
                part
                for part in (f"{size[0]}x{size[1]}" if size else "", "MJPG", f"at {fps:g} fps" if fps else "")
                if part
            )
            message = "%(source)s delivers %(mode)s; %(requested)s was requested"
            log_event(log, logging.WARNING, "camera_mode", message, source=self.name, mode=given, requested=requested)
        else:
            log_event(log, logging.INFO, "camera_mode", "%(source)s delivers %(mode)s", source=self.name, mode=given)

    def _retrieve(self) -> Image | None:
        """Decode what was grabbed, into a buffer if it has the size of the last one; None if it is broken."""
        good, image = self._capture.retrieve(self._buffers.acquire(*self._shape))
        if not good or image is None:
            return None
        picture = _bgr(image)
        self._shape = picture.shape[:2]
        return picture

    def _capture_time(self, now: float) -> float:
        """Return the driver's time of capture if it is one of time.monotonic(), as V4L2's should be; else `now`."""
        stamp = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000 if self._v4l2 else 0.0
        return stamp if now - 1 <= stamp <= now else now

    def _open_error(self, source: str) -> SourceError:
        if self._v4l2:
            return SourceError(
                f"The {self.name} cannot be opened",
                f"another program may hold it, or it is not a capture device; {listing()}",
                f"Close the other program (fuser {source} shows it), or choose another camera. {DEMO_HINT}",
            )
        return SourceError(
            f"The {self.name} cannot be started",
            f"pipeline: {shown(source)}",
            "Try the pipeline alone: gst-launch-1.0 with this text, and fakesink in place of appsink. A CSI camera "
            "also fails while another program holds it; then sudo systemctl restart nvargus-daemon helps.",
        )

    def _silence_error(self, frames: int, seconds: float) -> SourceError:
        gone = self._device is not None and not self._device.exists()
        reason = "; its device file is gone: it was unplugged" if gone else ""
        return SourceError(
            f"The {self.name} has stopped delivering pictures",
            f"nothing for {seconds:.1f} s after {frames} frames{reason}",
            "Check the cable and the port; a hub without its own power supply is a frequent cause.",
        )


def _open(source: str, api: int) -> cv2.VideoCapture:
    """Return the capture object, which may have failed to open. Raises SourceError if OpenCV lacks GStreamer."""
    if api != cv2.CAP_GSTREAMER:
        return cv2.VideoCapture(source, api)
    line = next((line for line in cv2.getBuildInformation().splitlines() if "GStreamer:" in line), "")
    if "YES" not in line:
        raise SourceError(
            "This OpenCV cannot open GStreamer pipelines",
            f"OpenCV {cv2.__version__} in {Path(cv2.__file__).parent} was built without GStreamer, as pip's always is",
            "Use JetPack's or Debian's: apt install python3-opencv, and make the virtual environment with"
            " --system-site-packages and no opencv-python in it.",
        )
    major, minor = (int(part) for part in cv2.__version__.split(".")[:2])
    if (major, minor) < (4, 7):  # knows no timeouts, and refuses a pipeline that is given some
        return cv2.VideoCapture(source, api)
    limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, CAPTURE_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, CAPTURE_TIMEOUT_MS]
    return cv2.VideoCapture(source, api, limits)


def _bgr(image: MatLike) -> Image:
    """Return `image` itself if it is BGR, else a BGR copy: a user's own pipeline may give grey or BGRx."""
    if image.ndim == 2 or image.shape[2] == 1:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    elif image.shape[2] == 4:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    return np.asarray(image, np.uint8)
