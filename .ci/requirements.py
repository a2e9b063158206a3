"""Prints what the installed project requires, one a line: python .ci/requirements.py newest|oldest [EXTRA...].

newest: as setup.py has it. oldest: each pinned to the lowest version that setup.py allows.
"""

from __future__ import annotations

import importlib.metadata
import sys

from packaging.requirements import Requirement
from packaging.version import Version


def oldest(requirement: Requirement) -> str:
    """`requirement` at its lowest version; as it is where it states none."""
    for bound in requirement.specifier:
        if bound.operator in (">=", "=="):
            # A release may lack the file of that very name: OpenCV's 4.8.0 is 4.8.0.74 and later.
            major, minor, patch = (*Version(bound.version).release, 0, 0)[:3]
            return f"{requirement.name}>={bound.version},<{major}.{minor}.{patch + 1}"
    return str(requirement)


def main(which: str, *extras: str) -> None:
    """Print the requirements of the base and of `extras`, one a line, `oldest` or as setup.py has them."""
    for line in importlib.metadata.requires("livesr") or []:
        requirement = Requirement(line)
        marker, requirement.marker = requirement.marker, None
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            print(oldest(requirement) if which == "oldest" else requirement)


if __name__ == "__main__":
    main(*sys.argv[1:])
