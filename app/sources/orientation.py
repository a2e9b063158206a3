"""How a film's pictures are turned upright: telephones record them as they are held, and note how that was."""

from __future__ import annotations

from typing import NamedTuple, cast

import cv2
import numpy as np
from av.buffer import Buffer
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame

from engines.base import Image

HORIZONTALLY, VERTICALLY, BOTH = 1, 0, -1
"""cv2.flip's codes."""


class Orientation(NamedTuple):
    """A turn by right angles, mirrored or not: the axes are exchanged first, if at all, then the picture is flipped."""

    exchanged: bool
    flip: int | None

    def apply(self, image: Image, into: Image) -> None:
        """Write `image`, whose rows may be padded, upright `into` a buffer of the right size."""
        if self.flip is None:
            cv2.transpose(image, dst=into)
        else:
            cv2.flip(cv2.transpose(image) if self.exchanged else image, self.flip, dst=into)


def orientation_of(picture: VideoFrame) -> Orientation | None:
    """Return what the container or the codec says of a picture; None if it is upright."""
    # Not picture.side_data: that and the picture would refer to each other until Python's cycle collector runs, with
    # megabytes between them.
    side_data = SideDataContainer(picture)  # type: ignore[call-arg] # its stub has no __init__
    side = cast("Buffer | None", side_data.get("DISPLAYMATRIX"))
    if side is None:
        return None
    # ISO/IEC 14496-12, 6.2.2: a point (x, y) is shown at (a x + c y, b x + d y). Other angles are rounded.
    a, b, _, c, d = np.frombuffer(memoryview(side), np.int32)[:5].tolist()
    exchanged = abs(b) > abs(a)
    mirrored, upturned = (c < 0, b < 0) if exchanged else (a < 0, d < 0)
    flip = BOTH if mirrored and upturned else HORIZONTALLY if mirrored else VERTICALLY if upturned else None
    return Orientation(exchanged, flip) if exchanged or flip is not None else None
