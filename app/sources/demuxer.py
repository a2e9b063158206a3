"""Opens video files and network streams through PyAV, and says in plain words why one cannot be opened."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
from av.error import FFmpegError

from app.errors import SourceError
from app.sources.missing_file import missing_file_error
from app.uri import shown

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

MP4_FIRST_BOXES = (b"ftyp", b"mdat", b"free", b"wide", b"skip")
STREAM_OPEN_TIMEOUT_S, READ_TIMEOUT_S = 4.5, 8.0
"""Opening a stream may take twice its limit: once to connect and once to find the pictures, 9 s in all."""

STREAM_OPTIONS = {
    "rtsp_transport": "tcp",  # over UDP a lost packet smears the picture until the next key frame
    "overrun_nonfatal": "1",  # udp: a full buffer loses packets instead of ending the stream
    "analyzeduration": "2000000",  # microseconds; the default of 5 s is dead time before the first picture
    # Not "fflags nobuffer": it discards what was read to find the pictures, the first key frame included. Kept, it is
    # decoded in a burst at the start, of which a live pipeline drops all but the newest picture.
}


def open_file(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a local video file and return it with its video stream; the caller closes it. Raises SourceError."""
    where = path.absolute()
    try:
        if not path.exists():
            raise missing_file_error(path)
        if not path.is_file():
            raise SourceError(
                f"{path} is not a file",
                "it is a pipe or a device, which cannot be read twice",
                "Give a file, or rtsp://, gst: ...",
            )
        with path.open("rb") as file:
            start = file.read(32)
    except OSError as error:
        raise SourceError(
            f"{path.name} cannot be read", f"{where}: {error.strerror}", "Check its permissions."
        ) from None
    if not start:
        raise SourceError(f"{path.name} is empty", f"{where} has 0 bytes", "Copy or record it again.")
    try:
        container = av.open(str(where), timeout=READ_TIMEOUT_S)  # a relative name may look like a protocol: clip:1.mp4
    except FFmpegError as error:
        if _lacks_index(path):
            raise SourceError(
                f"{path.name} is truncated: it has no index",
                f"{where} is an MP4 of {path.stat().st_size} bytes without a 'moov' box, which is written last",
                "It was not closed properly when recorded or not copied whole: copy it again, or repair it with a tool"
                " such as untrunc.",
            ) from None
        raise SourceError(
            f"{path.name} is not a video that can be read",
            f"{where} begins with {start[:16]!r} ({error.strerror})",
            "Check with ffprobe whether it plays elsewhere.",
        ) from None
    return _with_pictures(container, path.name)


def open_stream(
    url: str, *, limit: float = STREAM_OPEN_TIMEOUT_S, read_timeout_s: float = READ_TIMEOUT_S
) -> tuple[InputContainer, VideoStream]:
    """Open a network stream within twice `limit` seconds, as open_file() does a file. Raises SourceError.

    `read_timeout_s`: how long reading may wait for data later.
    """
    began = time.monotonic()
    try:
        container = av.open(url, options=dict(STREAM_OPTIONS), timeout=(limit, read_timeout_s))
    except FFmpegError as error:
        raise _unreachable(url, error, time.monotonic() - began, limit) from None
    return _with_pictures(container, shown(url))


def _with_pictures(container: InputContainer, name: str) -> tuple[InputContainer, VideoStream]:
    """Return `container` and its first real video stream: no text that FFmpeg would draw, no cover of a song."""
    cover = av.stream.Disposition.attached_pic
    for video in container.streams.video:
        if container.format.name != "tty" and not video.disposition & cover and video.codec_context is not None:
            return container, video
    codecs = [stream.codec_context.name for stream in container.streams if stream.codec_context is not None]
    facts = f"it is {container.format.long_name} with {', '.join(codecs) or 'nothing that can be decoded'}"
    container.close()
    raise SourceError(f"{name} has no video in it", facts, "Choose a file or a stream that has.")


def _unreachable(url: str, error: FFmpegError, seconds: float, limit: float) -> SourceError:
    name, reason = shown(url), (error.strerror or type(error).__name__)
    if isinstance(error, av.error.ExitError) or seconds > 0.9 * limit:  # RTSP reports its time limit as bad data
        return SourceError(
            f"{name} does not answer",
            f"no picture within {seconds:.1f} s",
            "Check that the sender is running, and that address, port and firewall let it through.",
        )
    if isinstance(error, av.error.ConnectionRefusedError):
        return SourceError(f"{name} refuses the connection", reason, "Start the sender, or check the port.")
    if isinstance(error, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return SourceError(f"{name} requires a password", reason, "Write it as rtsp://name:password@host/path.")
    if isinstance(error, (av.error.HTTPError, av.error.HTTPClientError)):
        return SourceError(f"{name} has no such stream", reason, "Check the path after the host name.")
    if isinstance(error, av.error.InvalidDataError):
        return SourceError(f"{name} answers, but sends no video", reason, "Open it in a player such as VLC to compare.")
    return SourceError(f"{name} cannot be opened", reason, "Check the address and the network.")


def _boxes(path: Path) -> Iterator[bytes]:
    """Yield the names of an MP4 file's outermost boxes (ISO/IEC 14496-12, 4.2) as long as they make sense."""
    size = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at + 8 <= size:
            file.seek(at)
            header = file.read(16)
            yield header[4:8]
            length = int.from_bytes(header[:4], "big")
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if length < 8:  # 0: to the end of the file
                return
            at += length


def _lacks_index(path: Path) -> bool:
    names = list(_boxes(path))
    return bool(names) and names[0] in MP4_FIRST_BOXES and b"moov" not in names
