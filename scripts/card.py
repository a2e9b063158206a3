#!/usr/bin/env python3
"""Write the card of a shipped model, with figures measured now.

  python scripts/card.py fast-x4 --sets FOLDER --run runs/fast-x4 --hardware "one core of an AMD EPYC"
  python scripts/card.py fast-x4 --sets FOLDER                     new figures only; the rest of the card stays

What a model is and how it was trained is read from its file and the log of its training. --sets is the folder of Set5,
Set14 and so on, as for scripts/evaluate.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import scripts  # noqa: F401 # first: says how to get what is missing

# isort: split
from engines.catalog import shipped as catalog
from engines.errors import UserError
from scripts.reporting.model_card import CardModel, card, kept, origin, wrapped

DEFAULT_TRAINING_DATA = ["bsds500", "wallpapers"]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name and scale, such as fast-x4")
    parser.add_argument("--sets", type=Path, required=True, help="folder of test sets")
    parser.add_argument("--run", type=Path, help="folder that scripts/train.py wrote to")
    parser.add_argument("--hardware", help="the hardware it was trained on, in words; needed with --run")
    parser.add_argument(
        "--data",
        nargs="+",
        default=DEFAULT_TRAINING_DATA,
        help=f"folders that it was trained on [{' '.join(DEFAULT_TRAINING_DATA)}]",
    )
    options = parser.parse_args(arguments)
    if bool(options.run) != bool(options.hardware):
        parser.error("--run and --hardware go together")
    file = catalog.MODELS_FOLDER / f"{options.model}.md"
    try:
        model = CardModel.find(options.model, options.run)
        if options.run:
            origin_text = "\n".join(map(wrapped, origin(model, options.hardware, options.data))) + "\n"
        else:
            origin_text = kept(file)
        file.write_text(card(model, options.sets, origin_text), encoding="utf-8")
    except (UserError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(file)
    return 0


if __name__ == "__main__":
    sys.exit(main())
