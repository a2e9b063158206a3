"""Scripts to build, train, measure and test the program with.

What lies at the top is a command: `python scripts/NAME.py --help`, or `python -m scripts.NAME --help`. The packages
below are what the commands have in common; none of them imports a command.
"""

from scripts.common import missing_packages

missing_packages.install()
