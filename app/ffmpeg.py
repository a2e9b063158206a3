"""FFmpeg's conversion between RGB and YUV, with the options that keep grey grey."""

from __future__ import annotations

from av.video.reformatter import Interpolation

ACCURATE_RND = 0x40000
"""FFmpeg's SWS_ACCURATE_RND. PyAV names it from 18 on, and 17 is the last for the Python 3.10 of JetPack 6."""

EXACT = Interpolation.BILINEAR | ACCURATE_RND
"""Without the second, FFmpeg's short cut makes grey one level darker and two levels greener."""


def cause(error: BaseException) -> BaseException:
    """What PyAV has wrapped, if it has: an error of the file that it was given."""
    return error.__cause__ or error.__context__ or error


def reason(error: BaseException) -> str:
    """What the system says, without the address of the file in it."""
    error = cause(error)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
