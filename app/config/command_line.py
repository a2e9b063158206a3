"""The command line. Its flags and their help are made from the fields of Config, so that the two cannot differ."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import typing
from collections.abc import Sequence
from typing import Any, Literal

from app.config.fields import flag_of, info_of
from app.config.schema import SECTIONS, Config
from app.config.yaml_file import from_mapping, read_yaml
from app.errors import ConfigError
from app.uri import home


def parser() -> argparse.ArgumentParser:
    """The command line, made from the fields."""

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> typing.NoReturn:
            wrong = re.search(r"--[\w-]+", message)
            near = difflib.get_close_matches(wrong[0], self._option_string_actions, 1) if wrong else []
            hint = f"Did you mean {near[0]}? " if near and wrong and near[0] != wrong[0] else ""
            raise ConfigError(f"The command line is wrong: {message}", fix=f"{hint}--help lists the options.")

    result = Parser(
        prog="python -m app.run",
        description="Live super-resolution: a camera's picture in, a sharp picture out.",
        allow_abbrev=False,
    )
    result.add_argument("--config", type=home, metavar="FILE.yaml", help="options from a file; the command line wins")
    result.add_argument("--print-config", action="store_true", help="write the effective configuration and end")
    result.add_argument("--list", action="store_true", help="show cameras, models and engines, and end")
    for section, kind in SECTIONS.items():
        group = result.add_argument_group(section, kind.__doc__)
        for name, field in kind.model_fields.items():
            flag, dest = f"--{flag_of(name, field)}", f"{section}.{name}"
            info = info_of(field)
            common: dict[str, Any] = {"dest": dest, "default": argparse.SUPPRESS}
            if field.annotation is bool:
                common |= {"action": argparse.BooleanOptionalAction}
            elif typing.get_origin(field.annotation) is Literal:
                common |= {"choices": typing.get_args(field.annotation), "type": info.current_value}
            else:
                common |= {"metavar": info.metavar}
            group.add_argument(flag, help=field.description, **common)
            if info.was:
                group.add_argument(f"--{info.was}", help=argparse.SUPPRESS, **common)
    return result


def merged(data: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """`data` with section.name options laid over it."""
    result = {k: dict(v) if isinstance(v, dict) else v for k, v in data.items()}
    for key, value in options.items():
        section, name = key.split(".")
        if section == "engine" and isinstance(result.get(section), str):
            result[section] = {"name": result[section]}
        if not isinstance(result.get(section), dict):
            result[section] = {}
        result[section][name] = value
    # Whoever names one input on the command line does not want the file's other one.
    chosen = result.get("input") or {}
    for this, other in (("camera", "source"), ("source", "camera")):
        if f"input.{this}" in options and f"input.{other}" not in options and isinstance(chosen, dict):
            chosen.pop(other, None)
    return result


def parse(arguments: Sequence[str] | None = None) -> tuple[Config, argparse.Namespace]:
    """The effective configuration, and the options that are none: config, print_config, list.

    With them `given`: which keys the command line sets, as section.name.
    Raises ConfigError; --help ends the program, as usual.
    """
    options = vars(parser().parse_args(sys.argv[1:] if arguments is None else arguments))
    others = argparse.Namespace(**{k: options.pop(k) for k in ("config", "print_config", "list")}, given=tuple(options))
    data = read_yaml(others.config) if others.config else {}
    if others.config:
        from_mapping(data, str(others.config))  # so that a mistake in the file is told as the file's
    return from_mapping(merged(data, options), "The command line" if options else "The configuration"), others
