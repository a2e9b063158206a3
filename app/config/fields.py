"""The fields of the configuration: what each is for, how its value is written and what it was called before."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationInfo, field_validator
from pydantic.fields import FieldInfo

from app.uri import home
from engines.request import ENGINE_NAMES, EngineKind


@dataclass(frozen=True)
class OptionInfo:
    """What the command line needs to know of a field and pydantic does not."""

    flag: str
    """The flag without its dashes; empty where it is the field's name."""
    metavar: str | None
    was: str
    """The former name, if any: its flag is accepted for good, its YAML key is refused with a hint at the new one."""
    needs: str
    """What the option has no effect without, by the names in app.config.ineffective, separated by blanks."""
    reads: Literal["", "file", "source", "model"]
    """What the value names that is read, and that nothing may be written over, if it names such a thing."""
    writes: bool
    """Whether its value is a file that is written."""
    values_were: Mapping[str, str]
    """What each former value is called now. Former values are accepted for good."""

    def current_value(self, value: str) -> str:
        """What `value` is called now."""
        return self.values_were.get(value, value)


def option(
    default: Any,
    text: str,
    *,
    flag: str = "",
    metavar: str | None = None,
    was: str = "",
    needs: str = "",
    reads: Literal["", "file", "source", "model"] = "",
    writes: bool = False,
    values_were: Mapping[str, str] | None = None,
    **limits: Any,
) -> Any:
    """Declare a field: its default, its help text, the members of OptionInfo, and the limits that pydantic checks."""
    info = OptionInfo(flag, metavar, was, needs, reads, writes, values_were or {})
    return Field(default, description=text, json_schema_extra={"option": info}, **limits)  # type: ignore[dict-item]


def defaults() -> Any:
    """Declare a section that has all its defaults unless something in it is set."""
    # Not an instance: pydantic would have to build each section on its own, besides all of them as parts of Config.
    return Field({}, validate_default=True)


def info_of(field: FieldInfo) -> OptionInfo:
    """The OptionInfo of a field that option() has declared."""
    assert isinstance(field.json_schema_extra, dict)
    info: Any = field.json_schema_extra["option"]
    assert isinstance(info, OptionInfo)
    return info


def flag_of(name: str, field: FieldInfo) -> str:
    """The command-line flag of the field called `name`, without its dashes."""
    return info_of(field).flag or name.replace("_", "-")


class Section(BaseModel):
    """A part of the configuration. Frozen; unknown keys and numbers that are not finite are errors."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=False,
        allow_inf_nan=False,
        defer_build=True,  # until one is made by itself, which a run does of few
    )
    needs: ClassVar[str] = ""
    """What all options of this section have no effect without."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `segment: yes`, which would be one second, because true equals 1 in Python."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("it is not a switch; YAML reads on, off, yes and no without quotes as true and false")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _current_value(cls, value: Any, info: ValidationInfo) -> Any:
        """Replace a former value by what it is called now."""
        field = cls.model_fields[str(info.field_name)]
        is_option = bool(field.json_schema_extra)  # the sections of Config are fields, too, and no options
        return info_of(field).current_value(value) if is_option and isinstance(value, str) else value


MIN_OUTPUT_SIDE_PX, MAX_OUTPUT_SIDE_PX = 16, 16384
"""Limits of the width and height of a picture that comes out."""


def parse_size(value: Any) -> Any:
    """Turn "640x360" into (640, 360); anything else that is no text passes unchanged."""
    match = re.fullmatch(r"\s*(\d+)\s*[xX]\s*(\d+)\s*", value) if isinstance(value, str) else None
    if isinstance(value, str) and not match:
        raise ValueError("a size is written WIDTHxHEIGHT, such as 640x360")
    return (int(match[1]), int(match[2])) if match else value


def parse_output_size(value: Any) -> Any:
    """Turn "1920x1080" into (1920, 1080); "screen" stays. Raises ValueError for a size that no picture has."""
    size = value if value == "screen" else parse_size(value)
    if isinstance(size, tuple) and not all(MIN_OUTPUT_SIDE_PX <= side <= MAX_OUTPUT_SIDE_PX for side in size):
        raise ValueError(f"width and height go from {MIN_OUTPUT_SIDE_PX} to {MAX_OUTPUT_SIDE_PX}")
    return size


def parse_text(value: Any) -> Any:
    """Refuse empty text, which is what a shell makes of an unset variable: no file or device can have that name."""
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError("it holds a NUL character" if value.strip() else "it is empty")
    return value


def parse_path(value: Any) -> Any:
    """Expand ~, as a shell does on the command line but nobody in a file."""
    return str(home(parse_text(value))) if isinstance(value, str) and value.startswith("~") else parse_text(value)


def parse_camera(value: Any) -> Any:
    """Turn "0" into the index 0; a path stays a path."""
    if isinstance(value, str) and "://" in value:
        raise ValueError("it is the address of a stream, which is given as source")
    return int(value) if isinstance(value, str) and value.isdecimal() else parse_path(value)


def parse_controls(value: Any) -> Any:
    """Turn the values of a mapping, or of the command line's ("NAME", "VALUE") pairs, into numbers where they are."""
    pairs = list(value.items()) if isinstance(value, dict) else value
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        raise ValueError("controls are a mapping of names and values, such as {power_line_frequency: 1}")
    return {name: parse_control_value(name, given) for name, given in pairs}


def parse_control_value(name: Any, value: Any) -> int | str:
    """Return the value of the control `name`: a number, or the text of a menu's entry. Raises ValueError."""
    if isinstance(value, bool):  # YAML reads on and off so, and a switch takes 1 and 0
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d+\s*", value):
        return int(value)
    if not isinstance(value, int | str) or not str(value).strip():
        raise ValueError(f"{name} needs a value, which is a whole number or the text of a menu's entry")
    return value


def parse_engine(value: Any) -> Any:
    """Refuse names of engines that do not exist; triton may be an address."""
    names = (EngineKind.AUTO.value, *ENGINE_NAMES)
    if isinstance(value, str) and value not in names and not value.startswith("triton://"):
        near = difflib.get_close_matches(value, names, 1)
        raise ValueError(f"the engines are {', '.join(names)}" + (f"; did you mean {near[0]}?" if near else ""))
    return value


def parse_names(value: Any) -> Any:
    """Turn "ko,en", as the command line has it, into ("ko", "en")."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def parse_fallback(value: Any) -> Any:
    """Turn "openvino,bicubic" into its names and "none" into (); refuse names that are no engines of this machine."""
    names = () if value == "none" else parse_names(value)
    local_engines = [name for name in ENGINE_NAMES if not EngineKind(name).is_remote]
    if isinstance(names, list | tuple) and (wrong := [name for name in names if name not in local_engines]):
        raise ValueError(f"{wrong[0]!r} is not one of {', '.join(local_engines)}; none for no fallback")
    return names


Size = Annotated[
    tuple[int, int],
    BeforeValidator(parse_size),
    PlainSerializer(lambda size: f"{size[0]}x{size[1]}", return_type=str, when_used="json"),
]
OutputSize = Annotated[
    tuple[int, int] | Literal["screen"],
    BeforeValidator(parse_output_size),
    PlainSerializer(
        lambda size: size if isinstance(size, str) else f"{size[0]}x{size[1]}", return_type=str, when_used="json"
    ),
]
Scale = Annotated[
    float,
    PlainSerializer(lambda scale: int(scale) if scale == int(scale) else scale, when_used="json"),
]
Names = Annotated[tuple[str, ...], BeforeValidator(parse_names)]
Controls = Annotated[dict[str, int | str], BeforeValidator(parse_controls)]
Camera = Annotated[int | str, BeforeValidator(parse_camera)]
Text = Annotated[str, BeforeValidator(parse_text)]
File = Annotated[Path, BeforeValidator(parse_path)]
NameOrFile = Annotated[str, BeforeValidator(parse_path)]
