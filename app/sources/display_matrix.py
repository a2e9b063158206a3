"""How a film's pictures are turned upright: telephones record them as they are held, and note how that was."""

from __future__ import annotations

from typing import cast

import numpy as np
from av.buffer import Buffer
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame

from app.sources.orientation import BOTH, HORIZONTALLY, VERTICALLY, Orientation


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
