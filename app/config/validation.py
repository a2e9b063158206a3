"""Makes a configuration of nested mappings, and says what is wrong with them."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import ValidationError

from app.config.fields import flag_of
from app.config.schema import RENAMED, SECTIONS, Config, known_keys
from app.errors import ConfigError
from app.uri import shown


def from_mapping(data: Any, origin: str) -> Config:
    """Return a validated Config. Raises ConfigError, which names the key, its value, and what would be right."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
    # Without what pydantic appends to a location for the members of a union.
    key = ".".join(str(part) for part in first["loc"][:2])
    if first["type"] == "extra_forbidden":
        raise unknown_key(key, origin)
    text = first["msg"].removeprefix("Value error, ")
    section, _, name = key.partition(".")
    value = first["input"]
    given = repr(shown(value)) if isinstance(value, str) else shown(repr(value))
    if not name:
        keys = f"{section} has the keys {', '.join(SECTIONS[section].model_fields)}." if section in SECTIONS else ""
        raise (
            ConfigError(f"{origin}: {section or 'it'} cannot be {given}", text, keys)
            if first["type"] != "value_error"
            else ConfigError(f"{origin}: {text}")
        )
    field = SECTIONS[section].model_fields[name]
    raise ConfigError(
        f"{origin}: {key} cannot be {given}",
        text[0].lower() + text[1:],
        f"{key} (--{flag_of(name, field)}): {field.description}.",
    )


def unknown_key(key: str, origin: str) -> ConfigError:
    """Return the error for a key that does not exist, with the one that was probably meant."""
    if key in RENAMED:
        return ConfigError(f"{origin}: the key {key} is now called {RENAMED[key]}", fix="Rename it.")
    keys = known_keys() + list(SECTIONS)
    section = key.partition(".")[0]
    # A key at the top by mistake is most likely the one of that name inside a section.
    inside = [k for k in known_keys() if k.split(".")[1] == key]
    inside += [name for was, name in RENAMED.items() if was.split(".")[1] == key]
    near = inside or difflib.get_close_matches(key, keys, 1, 0.5)
    names = SECTIONS[section].model_fields if "." in key and section in SECTIONS else SECTIONS
    return ConfigError(
        f"{origin}: there is no key {key}",
        f"{section if '.' in key else 'the configuration'} has: {', '.join(names)}",
        f"Did you mean {near[0]}?" if near else "python -m app.run --print-config shows all keys.",
    )
