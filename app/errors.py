"""What can be wrong with a configuration, a source or a sink."""

from __future__ import annotations

from engines.errors import UserError


class ConfigError(UserError):
    """Wrong usage: an option or a configuration file says something that cannot be."""


class SourceError(UserError):
    """A camera, file or stream cannot be opened, or has failed on the way."""


class SinkError(UserError):
    """A window cannot be opened, a recording cannot be written."""
