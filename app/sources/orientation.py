"""How a film's pictures have to be turned to stand upright. Telephones film as they are held."""

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
    """First the axes are exchanged, if they are, then the picture is flipped: all turns by right angles, mirrored ones
    too."""

    exchanged: bool
    flip: int | None

    def turned(self, image: Image, into: Image) -> None:
        """`image`, whose rows may be padded, upright `into` a buffer of the right size."""
        if self.flip is None:
            cv2.transpose(image, dst=into)
        else:
            cv2.flip(cv2.transpose(image) if self.exchanged else image, self.flip, dst=into)


def orientation_of(picture: VideoFrame) -> Orientation | None:
    """What its container or codec says of it; None where it is upright."""
    # Not picture.side_data: the picture keeps it, it the picture, and megabytes would wait for Python's collector.
    made = SideDataContainer(picture)  # type: ignore[call-arg] # its stub has no __init__
    side = cast("Buffer | None", made.get("DISPLAYMATRIX"))
    if side is None:
        return None
    # ISO/IEC 14496-12, 6.2.2: a point (x, y) is shown at (a x + c y, b x + d y). Angles in between are not kept.
    a, b, _, c, d = np.frombuffer(memoryview(side), np.int32)[:5].tolist()
    exchanged = abs(b) > abs(a)
    mirrored, upturned = (c < 0, b < 0) if exchanged else (a < 0, d < 0)
    flip = BOTH if mirrored and upturned else HORIZONTALLY if mirrored else VERTICALLY if upturned else None
    return Orientation(exchanged, flip) if exchanged or flip is not None else None
