"""How the measuring scripts talk to a Triton server: as the app does, by its configuration file."""

from __future__ import annotations

import argparse
from pathlib import Path

from app.config.command_line import parse
from engines.request import TritonOptions


def read(file: Path | None) -> TritonOptions:
    """Return the section `triton` of `file`: certificates, a token, the transport. Raises ConfigError."""
    return TritonOptions(**dict(parse(["--config", str(file)])[0].triton)) if file else TritonOptions()


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add --config to a command's options."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="configuration of the app whose section triton says how to reach the server",
    )
