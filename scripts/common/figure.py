"""A measured figure, compared with its target if it has one."""

from __future__ import annotations

from dataclasses import dataclass

FIGURE_HEADER = f"{'':<46} {'target':<10} {'measured':>9}      met"
"""Over figures as they are printed."""


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    unit: str = ""
    target: float | None = None
    at_least: bool = True

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None if there is no target."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    def __str__(self) -> str:
        sign = "" if self.target is None else f"{'>=' if self.at_least else '<='} {self.target:g} {self.unit}".strip()
        met = {None: "", True: "yes", False: "NO"}[self.met]
        return f"{self.name:<46} {sign:<10} {self.value:>9.2f} {self.unit:<4} {met}".rstrip()
