"""MP4 or Matroska around a FragmentFile, so that what is written plays at any moment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from app.errors import SinkError
from app.ffmpeg import reason
from app.sinks.recording.fragment_file import BUFFER_BYTES, FragmentFile

# What has been written plays even if the power fails: nothing waits in a buffer, and no index waits for the end.
FORMATS: dict[str, dict[str, str]] = {
    "mp4": {
        "movflags": "+frag_keyframe+empty_moov+default_base_moof",
        "frag_duration": "500000",  # microseconds
        "flush_packets": "1",
    },
    "matroska": {"cluster_time_limit": "500", "flush_packets": "1"},  # milliseconds
}

FORMAT_OF_SUFFIX = {".mp4": "mp4", ".mkv": "matroska"}
"""FFmpeg's names of the formats that can be recorded."""


def kind_of(path: Path) -> str:
    """Return FFmpeg's name of the format that `path` has by its suffix. Raises SinkError."""
    kind = FORMAT_OF_SUFFIX.get(path.suffix.lower())
    if kind is None:
        raise SinkError(
            f"Cannot record to {path}",
            f"its name ends in {path.suffix or 'nothing'}",
            "Use a name that ends in .mp4 or .mkv.",
        )
    return kind


def create(path: Path) -> tuple[Any, FragmentFile]:
    """Open a container for `path`, and the file it writes to; make its folder. Raises SinkError."""
    kind = kind_of(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = FragmentFile(path)
        return av.open(file, "w", format=kind, options=FORMATS[kind], buffer_size=BUFFER_BYTES), file


def pictures(path: Path) -> tuple[int, float]:
    """Count the pictures that are whole in the file `path`, and find the time of the last, in seconds.

    Reads all of it. (0, 0) if it does not play.
    """
    count, last = 0, 0.0
    with contextlib.suppress(av.FFmpegError, OSError), av.open(str(path)) as container:  # it may end anywhere
        for packet in container.demux(video=0):
            if packet.size and not packet.is_corrupt and packet.pts is not None:
                count, last = count + 1, max(last, float(packet.pts * packet.time_base))
    return count, last


def check_file(path: Path) -> None:
    """Make the folder of `path`. Raises SinkError if nothing can be recorded there; an existing file stays as it is."""
    kind_of(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        # No FragmentFile: the run before a reload may be writing it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))
        if new:
            path.resolve().unlink()  # a link to a file that did not exist yet stays


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of the system on the way to `path` into SinkErrors."""
    try:
        yield
    except BlockingIOError:
        raise SinkError(f"Cannot record to {path}", "another program is writing it", "Give another name.") from None
    except OSError as error:  # PyAV's system errors are OSErrors too
        raise SinkError(
            f"Cannot record to {path}",
            reason(error),
            f"Check that {path.parent.absolute()} is a folder and that you may write to it.",
        ) from None
