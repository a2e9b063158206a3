"""Errors that a user can cause or mend, in three parts: the problem, the facts, the fix."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class UserError(Exception):
    """Something that a user can cause and mend. Shown without a traceback."""

    def __init__(self, problem: str, facts: str = "", fix: str = "") -> None:
        """Say what is wrong, what is known about it, and what to do about it; the last two may be left out."""
        super().__init__(problem)
        self.problem, self.facts, self.fix = problem, facts, fix

    @property
    def parts(self) -> tuple[str, str, str]:
        """The problem, the facts and the fix."""
        return self.problem, self.facts, self.fix

    def __str__(self) -> str:
        return "\n  ".join(part for part in self.parts if part)


def one_line(error: Exception) -> str:
    """Return what `error` says, on one line; "" if it says nothing."""
    parts = error.parts if isinstance(error, UserError) else (str(error),)
    return "; ".join(" ".join(part.split()).rstrip(".") for part in parts if part)


class EngineError(UserError):
    """An engine cannot be loaded, refuses a model or a size, or has failed while running."""


def as_engine_error(name: str, load: Callable[[], T]) -> T:
    """Return what `load` returns, and turn whatever goes wrong into an EngineError.

    A thread that looks for engines must not end with one of them, be it for lack of memory or of processes.

    Raises:
        EngineError: The engine called `name` cannot be loaded.
    """
    try:
        return load()
    except EngineError:
        raise
    except Exception as error:
        raise EngineError(f"{name} cannot be loaded", f"{type(error).__name__}: {one_line(error)[:200]}") from error


class FrameRefusedError(EngineError):
    """An engine has not taken a frame, as it is overloaded. Nothing of it is in flight, and the next may succeed."""


class ModelError(EngineError):
    """The model or the size is at fault, so that no other engine would do better."""
