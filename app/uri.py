"""The names of sources: which of them are files or devices, and what of them may be shown."""

from __future__ import annotations

import contextlib
import glob
import re
from pathlib import Path
from urllib.parse import unquote

SECRETS = r"(?:[\w-]*-)?(?:pw|pwd|password|passphrase|token)"
"""Names of the options of GStreamer's elements whose values are secret, such as user-pw."""
QUOTED = r'"(?:[^"\\]|\\.)*"'
"""A value with blanks in it."""


def local(source: str) -> Path | None:
    """Return the file, folder, pattern or device that `source` names; None if it names none, as demo and rtsp://."""
    scheme, mark, rest = source.partition("://")
    if source == "demo" or re.match(r"csi:\d+$|gst:", source) or (mark and scheme.lower() != "file"):
        return None
    return home(unquote(re.sub("^localhost/", "/", rest), errors="surrogateescape") if mark else source)


def home(path: str) -> Path:
    """Expand ~ and ~name at the beginning of `path` to a user's home folder, if there is such a user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # ~t.mp4 is the name of a file
        return Path(path)


def shown(text: str) -> str:
    """Return `text`, an address or text with addresses in it, without their user names, passwords and values."""
    scheme = re.match(r"[\w+.-]+://", text)
    if scheme and scheme[0].lower() == "file://":
        return text
    if scheme:  # all of it is one address, even with a space in the password
        return scheme[0] + _bare(text[scheme.end() :])
    text = re.sub(r"([\w+.-]+://)(\S+)", lambda found: found[1] + _bare(found[2]), text)
    return re.sub(rf"\b({SECRETS})(\s*=\s*)({QUOTED}|[^\s&]+)", r"\1\2...", text)


def _bare(rest: str) -> str:
    """Redact what follows the scheme. People do not write @ and / in a password as %40 and %2F."""
    place, mark, query = rest.partition("?")
    if "@" in query and "@" not in place and not re.match(r"[\w.-]*(:\d+)?/", place):
        return "..."  # a password with a ? in it
    redacted = "&".join(re.sub("^([^=]*=)?.+", r"\1...", part) for part in query.split("&"))
    if not re.match(r"[\w.-]+/", place):  # else this is a host, and an @ further on is part of a path
        place = place.rpartition("@")[2]
    return place + mark + redacted


SCHEMES = ("rtsp", "rtsps", "http", "https", "udp")
STILLS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Suffixes of still pictures."""
SOURCE_KINDS = "a video file, a folder or pattern of pictures, rtsp://, http://, udp://, csi:0, gst:PIPELINE, demo"


def comes_and_goes(camera: int | str | None, source: str | None) -> bool:
    """Whether the source is a camera or a network stream. A missing file is a mistake that no waiting mends."""
    if camera is not None or source is None:
        return True
    scheme = source.partition("://")[0].lower()
    return scheme in SCHEMES or bool(re.match(r"csi:\d+$|gst:", source)) or is_device(source)


def is_device(source: str) -> bool:
    """Whether `source` names a device file. Opening one that may not be looked at reports that."""
    path = local(source)
    with contextlib.suppress(OSError, ValueError):
        return path is not None and path.is_char_device()
    return False


def are_pictures(path: Path) -> bool:
    """Whether `path` is a folder, a pattern or a file of still pictures, and no film. Raises OSError, ValueError."""
    return path.is_dir() or path.suffix.lower() in STILLS or (glob.has_magic(str(path)) and not path.exists())
