"""The command line, whose flags and help are made from the fields of Config, so that the two cannot differ."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
import typing
from collections.abc import Sequence
from typing import Any, Literal

from app.config.fields import OptionInfo, flag_of, info_of
from app.config.schema import SECTIONS, Config
from app.config.validation import from_mapping
from app.errors import ConfigError
from app.uri import home


def parser() -> argparse.ArgumentParser:
    """Make the parser from the fields. Former flags are accepted, and named neither in --help nor in a hint."""
    former: dict[str, str] = {}

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> typing.NoReturn:
            flag = re.search(r"--[\w-]+", message)
            near = difflib.get_close_matches(flag[0], self._option_string_actions, 1) if flag else []
            meant = former.get(near[0], near[0]) if near else ""
            hint = f"Did you mean {meant}? " if meant and flag and meant != flag[0] else ""
            raise ConfigError(f"The command line is wrong: {message}", fix=f"{hint}--help lists the options.")

    result = Parser(
        prog="python -m app.run",
        description="Live super-resolution: a camera's picture in, a sharp picture out.",
        allow_abbrev=False,
    )
    result.add_argument(
        "--config",
        type=home,
        metavar="FILE.yaml",
        help="read options from a file; those on the command line take precedence",
    )
    result.add_argument("--print-config", action="store_true", help="print the effective configuration and exit")
    result.add_argument("--list", action="store_true", help="list cameras, models and engines, and exit")
    for section, kind in SECTIONS.items():
        group = result.add_argument_group(section, kind.__doc__)
        for name, field in kind.model_fields.items():
            flag, dest = f"--{flag_of(name, field)}", f"{section}.{name}"
            info = info_of(field)
            common: dict[str, Any] = {"dest": dest, "default": argparse.SUPPRESS}
            if field.annotation is bool:
                common |= {"action": argparse.BooleanOptionalAction}
            elif typing.get_origin(field.annotation) is Literal:
                common |= _choice(typing.get_args(field.annotation), info)
            elif typing.get_origin(field.annotation) is dict:
                common |= {"metavar": info.metavar, "action": "append", "type": name_and_value}
            else:
                common |= {"metavar": info.metavar}
            group.add_argument(flag, help=field.description, **common)
            if info.was:
                group.add_argument(f"--{info.was}", help=argparse.SUPPRESS, **common)
                former[f"--{info.was}"] = flag
    return result


def name_and_value(text: str) -> tuple[str, str]:
    """Split NAME=VALUE. Raises ArgumentTypeError."""
    name, _, value = (part.strip() for part in text.partition("="))
    if not name or not value:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _choice(values: Sequence[Any], info: OptionInfo) -> dict[str, Any]:
    """Return what argparse is told of an option with these values, which need not be text."""
    known = {str(value): value for value in values}
    return {"choices": values, "type": lambda text: known.get(info.current_value(text), text)}


def merged(data: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return `data` with `options`, whose keys are section.name, taking precedence."""
    result = {k: dict(v) if isinstance(v, dict) else v for k, v in data.items()}
    for key, value in options.items():
        section, name = key.split(".")
        if section == "engine" and isinstance(result.get(section), str):
            result[section] = {"name": result[section]}
        if not isinstance(result.get(section), dict):
            result[section] = {}
        before = result[section].get(name)
        # A mapping's items are given one by one, and replace the file's items of that name.
        result[section][name] = (
            {**before, **dict(value)} if isinstance(value, list) and isinstance(before, dict) else value
        )
    # A camera on the command line replaces the file's source, and the other way round.
    chosen = result.get("input") or {}
    for this, other in (("camera", "source"), ("source", "camera")):
        if f"input.{this}" in options and f"input.{other}" not in options and isinstance(chosen, dict):
            chosen.pop(other, None)
    return result


def parse(arguments: Sequence[str] | None = None) -> tuple[Config, argparse.Namespace]:
    """Read the command line, and the file that it names.

    Returns:
        The effective configuration, and the options that are not part of it: config, print_config, list, and `given`,
        the keys that the command line sets, as section.name.

    Raises ConfigError; --help ends the program, as usual.
    """
    options = vars(parser().parse_args(sys.argv[1:] if arguments is None else arguments))
    others = argparse.Namespace(**{k: options.pop(k) for k in ("config", "print_config", "list")}, given=tuple(options))
    data: dict[str, Any] = {}
    if others.config:
        from app.config.yaml_file import read_yaml

        data = read_yaml(others.config)
        from_mapping(data, str(others.config))  # so that a mistake in the file is reported as the file's
    return from_mapping(merged(data, options), "The command line" if options else "The configuration"), others
