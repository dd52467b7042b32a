"""``python -m tools.artist --work WORK --out FOLDER``: packages of drawings to a training set.

Writes FOLDER/dataset with the selections `artist` and `held-out`, and FOLDER/artist.json with the
counts of every step. Then: ``frenchcat train train-artist --set data.dataset=FOLDER/dataset``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from frenchcat.curate.errors import FrenchcatError
from frenchcat.curate.json_text import json_text
from tools.artist.materials import Missing
from tools.artist.recipe import make


def main() -> None:
    """Parse, make, print."""
    parser = argparse.ArgumentParser(prog="python -m tools.artist", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="packages and rendered drawings")
    parser.add_argument("--out", type=Path, required=True, help="the folder of the dataset")
    parser.add_argument("--limit", type=int, help="names to take, for a trial")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    try:
        print(json_text(make(given.work, given.out / "dataset", given.limit), indent=1))
    except (Missing, FrenchcatError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
