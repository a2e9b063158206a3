"""Errors that a user can cause or mend, in three parts: the problem, the facts, the fix."""

from __future__ import annotations

from collections.abc import Callable

from engines.base import T


class UserError(Exception):
    """Something a user can cause and mend: the problem, the facts, the fix. Shown without a traceback."""

    def __init__(self, problem: str, facts: str = "", fix: str = "") -> None:
        super().__init__(problem)
        self.problem, self.facts, self.fix = problem, facts, fix

    @property
    def parts(self) -> tuple[str, str, str]:
        return self.problem, self.facts, self.fix

    def __str__(self) -> str:
        return "\n  ".join(part for part in self.parts if part)


def one_line(error: Exception) -> str:
    """What `error` says, on one line; "" if it says nothing."""
    parts = error.parts if isinstance(error, UserError) else (str(error),)
    return "; ".join(" ".join(part.split()).rstrip(".") for part in parts if part)


class EngineError(UserError):
    """An engine cannot be had, refuses a model or a size, or has failed while running."""


def as_engine_error(name: str, load: Callable[[], T]) -> T:
    """What `load` gives. Raises EngineError, whatever has gone wrong: no memory, no process, an answer without sense.

    Who looks for engines in a thread of its own must not end with one of them.
    """
    try:
        return load()
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"{name} cannot be loaded", f"{type(error).__name__}: {one_line(error)[:200]}") from error


class FrameRefusedError(EngineError):
    """An engine has not taken one frame, as it has too many; nothing of it is under way, and the next may do."""


class ModelError(EngineError):
    """The model or the size asked for is at fault, so that no other engine would do better."""
