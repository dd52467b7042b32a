"""``python -m tools.artist``: the artist's training set, and the artist from a run.

    python -m tools.artist make --work WORK --out FOLDER
    frenchcat train train-artist --set data.dataset=FOLDER/dataset --set run.out=RUN
    python -m tools.artist export RUN
    python -m tools.artist figures

`make` writes FOLDER/dataset with the selections `artist` and `held-out`, and FOLDER/artist.json
with the counts of every step. `export` writes frenchcat/artist/ from the run's newest checkpoint.
`figures` writes the artist's images in docs/pictures/.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from frenchcat.curate.errors import FrenchcatError
from frenchcat.curate.json_text import json_text
from tools.artist.materials import Missing


def main() -> None:
    """Parse, do, print what was counted."""
    parser = argparse.ArgumentParser(prog="python -m tools.artist", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("make", help="packages of drawings to a training set")
    make.add_argument("--work", type=Path, required=True, help="packages and rendered drawings")
    make.add_argument("--out", type=Path, required=True, help="the folder of the dataset")
    make.add_argument("--limit", type=int, help="names to take, for a trial")
    make.add_argument("--no-embed", action="store_true", help="end with the selections")
    export = verbs.add_parser("export", help="a run to the bundled artist")
    export.add_argument("run", type=Path)
    export.add_argument("--checkpoint", type=Path, help="a folder; by default the newest")
    export.add_argument("--to", type=Path, help="by default frenchcat/artist/")
    verbs.add_parser("figures", help="images of docs/draw.md, drawn by the artist")
    try:
        print(json_text(_done(parser.parse_args()), indent=1))
    except (Missing, FrenchcatError) as error:
        sys.exit(f"error: {error}")


def _done(given: argparse.Namespace) -> dict[str, object]:
    if given.verb == "export":
        from tools.artist.export import export

        return export(given.run, given.to, given.checkpoint)
    if given.verb == "figures":
        from tools.artist.figures import figures

        return figures()
    from tools.artist.recipe import make

    given.out.mkdir(parents=True, exist_ok=True)
    return make(given.work, given.out / "dataset", given.limit, embed=not given.no_embed)


if __name__ == "__main__":
    main()
