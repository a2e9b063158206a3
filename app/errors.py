"""What can be wrong with a configuration, a source or a sink."""

from __future__ import annotations

from typing import Any

from engines.errors import UserError


class ConfigError(UserError):
    """Wrong usage: an option or a configuration file says something that cannot be."""


class SourceError(UserError):
    """A camera, file or stream cannot be opened, or has failed on the way."""


class SinkError(UserError):
    """A window cannot be opened, a recording cannot be written."""


class RecordingError(SinkError):
    """A recording has failed. What was written before plays."""

    def __init__(self, problem: str, fix: str, *, reason: str, frames: int, seconds: float) -> None:
        """Say in the facts why it failed (`reason`) and how many `frames` and `seconds` of it play."""
        kept = (
            f"{frames} frames, {seconds:.1f} s, were recorded and can be played" if frames else "nothing was recorded"
        )
        super().__init__(problem, f"{reason}; {kept}", fix)
        self.reason, self.frames, self.seconds = reason, frames, seconds


def extent(error: UserError) -> dict[str, Any]:
    """Return the frames and seconds that a failed recording has kept, as fields of a log event."""
    return {"frames": error.frames, "seconds": error.seconds} if isinstance(error, RecordingError) else {}
