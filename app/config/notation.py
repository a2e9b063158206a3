"""How values are written, in a file and on the command line: 640x360; ko,en; triton://HOST:PORT/MODEL."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from app.uri import home
from engines import NAMES


def parse_size(value: Any) -> Any:
    """(640, 360) of "640x360"."""
    match = re.fullmatch(r"\s*(\d+)\s*[xX]\s*(\d+)\s*", value) if isinstance(value, str) else None
    if isinstance(value, str) and not match:
        raise ValueError("a size is written WIDTHxHEIGHT, such as 640x360")
    return (int(match[1]), int(match[2])) if match else value


def parse_text(value: Any) -> Any:
    """`value`, which no name of a file or device can be if it is empty, as what a shell makes of an unset variable."""
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError("it holds a NUL character" if value.strip() else "it is empty")
    return value


def parse_path(value: Any) -> Any:
    """/home/me/film.mp4 of ~/film.mp4, which a shell expands and a file does not."""
    return str(home(parse_text(value))) if isinstance(value, str) and value.startswith("~") else parse_text(value)


def parse_camera(value: Any) -> Any:
    """0 of "0"; a path stays a path."""
    if isinstance(value, str) and "://" in value:
        raise ValueError("it is the address of a stream, which is given as source")
    return int(value) if isinstance(value, str) and value.isdecimal() else parse_path(value)


def parse_engine(value: Any) -> Any:
    """One of the names there are; triton may be an address."""
    names = ("auto", *NAMES)
    if isinstance(value, str) and value not in names and not value.startswith("triton://"):
        near = difflib.get_close_matches(value, names, 1)
        raise ValueError(f"the engines are {', '.join(names)}" + (f"; did you mean {near[0]}?" if near else ""))
    return value


def parse_names(value: Any) -> Any:
    """("ko", "en") of "ko,en", as the command line has it."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def parse_fallback(value: Any) -> Any:
    """Engines as a list, of "openvino,bicubic"; of "none" an empty one."""
    names = () if value == "none" else parse_names(value)
    own = [name for name in NAMES if name != "triton"]
    if isinstance(names, (list, tuple)) and (wrong := [name for name in names if name not in own]):
        raise ValueError(f"{wrong[0]!r} is not one of {', '.join(own)}; none for no fallback")
    return names


Size = Annotated[
    tuple[int, int],
    BeforeValidator(parse_size),
    PlainSerializer(lambda size: f"{size[0]}x{size[1]}", return_type=str, when_used="json"),
]
Names = Annotated[tuple[str, ...], BeforeValidator(parse_names)]
Camera = Annotated[int | str, BeforeValidator(parse_camera)]
Text = Annotated[str, BeforeValidator(parse_text)]
File = Annotated[Path, BeforeValidator(parse_path)]
NameOrFile = Annotated[str, BeforeValidator(parse_path)]
