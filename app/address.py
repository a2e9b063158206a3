"""Address: how a source is named. What of that is a file's name, and what of it may be told."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote


def local(source: str) -> Path | None:
    """The file, folder, pattern or device that `source` names; None where it names none, as demo and rtsp:// do."""
    scheme, mark, rest = source.partition("://")
    if source == "demo" or re.match(r"csi:\d+$|gst:", source) or (mark and scheme.lower() != "file"):
        return None
    if not mark:
        return Path(os.path.expanduser(source))
    return Path(os.path.expanduser(unquote(re.sub("^localhost/", "/", rest), errors="surrogateescape")))


def shown(text: str) -> str:
    """`text` without the names, passwords and other values in its addresses, fit for a log."""
    return re.sub(r"([\w+.-]+://)([^\s'\"]+)", lambda found: found[1] + _bare(found[2]), text)


def _bare(rest: str) -> str:
    """What follows the scheme. Passwords have @ and / in them that should be written as %40 and %2F, and are not."""
    place, mark, query = rest.partition("?")
    if "@" in query and "@" not in place and not re.match(r"[\w.-]*(:\d+)?/", place):
        return "..."  # a password with a ? in it
    values = (f"{key}=..." if equals else "..." for key, equals, _ in (part.partition("=") for part in query.split("&")))
    return place.rpartition("@")[2] + (mark and "?" + "&".join(values))
