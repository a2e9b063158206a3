"""Swscale: FFmpeg's conversion between RGB and YUV, with the options that keep grey grey."""

from __future__ import annotations

from av.video.reformatter import Interpolation

ACCURATE_RND = 0x40000
"""FFmpeg's SWS_ACCURATE_RND. PyAV names it from 18 on, and 17 is the last for the Python 3.10 of JetPack 6."""

EXACT = Interpolation.BILINEAR | ACCURATE_RND
"""Without the second, FFmpeg's short cut makes grey one level darker and two levels greener."""
