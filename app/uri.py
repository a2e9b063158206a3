"""How a source is named. What of that is a file's name, and what of it may be told."""

from __future__ import annotations

import contextlib
import glob
import re
from pathlib import Path
from urllib.parse import unquote

SECRETS = r"(?:[\w-]*-)?(?:pw|pwd|password|passphrase|token)"
"""How options of GStreamer's elements are called that nobody else may know, such as user-pw."""


QUOTED = r'"(?:[^"\\]|\\.)*"'
"""Their values, where blanks are in them."""


def local(source: str) -> Path | None:
    """The file, folder, pattern or device that `source` names; None where it names none, as demo and rtsp:// do."""
    scheme, mark, rest = source.partition("://")
    if source == "demo" or re.match(r"csi:\d+$|gst:", source) or (mark and scheme.lower() != "file"):
        return None
    return home(unquote(re.sub("^localhost/", "/", rest), errors="surrogateescape") if mark else source)


def home(path: str) -> Path:
    """`path`, where ~ at its beginning is the user's own folder and ~name another's; if there is one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # ~t.mp4 is the name of a file
        return Path(path)


def shown(text: str) -> str:
    """`text`, an address or what has some in it, without the names, passwords and values in them: fit for a log."""
    scheme = re.match(r"[\w+.-]+://", text)
    if scheme and scheme[0].lower() == "file://":
        return text
    if scheme:  # all of it is one, should there be a space in the password
        return scheme[0] + _bare(text[scheme.end() :])
    text = re.sub(r"([\w+.-]+://)(\S+)", lambda found: found[1] + _bare(found[2]), text)
    return re.sub(rf"\b({SECRETS})(\s*=\s*)({QUOTED}|[^\s&]+)", r"\1\2...", text)


def _bare(rest: str) -> str:
    """What follows the scheme. Passwords have @ and / in them that should be written as %40 and %2F, and are not."""
    place, mark, query = rest.partition("?")
    if "@" in query and "@" not in place and not re.match(r"[\w.-]*(:\d+)?/", place):
        return "..."  # a password with a ? in it
    told = "&".join(re.sub("^([^=]*=)?.+", r"\1...", part) for part in query.split("&"))
    if not re.match(r"[\w.-]+/", place):  # else this is a host, and an @ further on is part of a path
        place = place.rpartition("@")[2]
    return place + mark + told


SCHEMES = ("rtsp", "rtsps", "http", "https", "udp")


STILLS = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""How the name of a still picture ends."""


SOURCE_KINDS = "a video file, a folder or pattern of pictures, rtsp://, http://, udp://, csi:0, gst:PIPELINE, demo"


def comes_and_goes(camera: int | str | None, source: str | None) -> bool:
    """Whether it is a camera or a network stream. A file that is missing is a mistake, and stays one."""
    if camera is not None or source is None:
        return True
    scheme = source.partition("://")[0].lower()
    return scheme in SCHEMES or bool(re.match(r"csi:\d+$|gst:", source)) or is_device(source)


def is_device(source: str) -> bool:
    """Whether `source` names a device file. One that may not be looked at is told of when it is opened."""
    path = local(source)
    with contextlib.suppress(OSError, ValueError):
        return path is not None and path.is_char_device()
    return False


def are_pictures(path: Path) -> bool:
    """Whether it is a folder, a pattern or a file of still pictures, and no film. Raises OSError, ValueError."""
    return path.is_dir() or path.suffix.lower() in STILLS or (glob.has_magic(str(path)) and not path.exists())
