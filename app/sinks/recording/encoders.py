"""Which of FFmpeg's and GStreamer's H.264 encoders work on this machine."""

from __future__ import annotations

import functools
import typing
from fractions import Fraction
from typing import TYPE_CHECKING

import av
from av.error import FFmpegError

from app.errors import SinkError
from app.ffmpeg import reason
from app.sinks.recording import gst_encoder

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

ENCODERS = ("libx264", "h264_nvenc", "h264_v4l2m2m", "h264_nvmpi", "h264_vaapi", "libopenh264", "h264_videotoolbox")


def check_encoder(name: str, *, start: bool = True) -> None:
    """Raise SinkError if FFmpeg has no H.264 encoder `name`, or (with `start`) if it does not start here.

    The error names the encoders that there are. Only `name` itself is started: on some boards an absent hardware
    encoder hangs whoever tries it.
    """
    if name in gst_encoder.PIPELINES:
        if start:
            gst_encoder.check(name)
        return
    problem, fact = f"{name} is not an H.264 encoder", ""
    if known(name):
        problem = f"The encoder {name} cannot be used on this machine"
        try:
            if start:
                try_out(name)
            return
        except (FFmpegError, ValueError) as error:
            fact = f"{reason(error)}; "
    others = [other for other in ENCODERS if other != name and known(other)]
    fact += f"this FFmpeg also knows: {', '.join(others) or 'none for H.264'}"
    raise SinkError(problem, fact, "Choose another with --encoder; libx264 needs no hardware.")


@functools.cache  # not of failures: a driver may come later
def try_out(name: str) -> None:
    """Raise FFmpegError or ValueError if the encoder `name` does not start.

    One that has started is not tried again for every segment or at a reload: it is in use then, and a board may have
    only one.
    """
    context = typing.cast("VideoCodecContext", av.CodecContext.create(name, "w"))
    context.width, context.height, context.pix_fmt = 640, 360, "yuv420p"  # above every hardware's smallest
    context.time_base, context.framerate = gst_encoder.TIME_BASE, Fraction(30)
    context.open()


def known(name: str) -> bool:
    """Return whether this FFmpeg was built with an H.264 encoder `name`; its hardware may be missing all the same.

    Other codecs do not count: ordinary players do not play them.
    """
    try:
        return av.Codec(name, "w").id == av.Codec("h264", "r").id
    except (ValueError, FFmpegError):
        return False
