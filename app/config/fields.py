"""A part of the configuration, and the fields that it is made of."""

from __future__ import annotations

import typing
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic.fields import FieldInfo


def option(default: Any, text: str, *, flag: str | None = None, metavar: str | None = None, **limits: Any) -> Any:
    """A field with what the command line needs to know of it; `flag` where it is not the field's name."""
    return Field(default, description=text, json_schema_extra={"flag": flag or "", "metavar": metavar or ""}, **limits)


def flag_of(name: str, field: FieldInfo) -> str:
    extra = typing.cast("dict[str, str]", field.json_schema_extra)
    return extra["flag"] or name


class Section(BaseModel):
    """Frozen; an unknown key is an error, and so is a number that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch(cls, value: Any, info: ValidationInfo) -> Any:
        """`segment: yes` would be a second, as true is 1 to Python."""
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
            raise ValueError("it is no switch; YAML reads on, off, yes and no without quotes as true and false")
        return value
