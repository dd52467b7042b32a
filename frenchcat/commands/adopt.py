"""The verb `adopt`: a folder of img2dataset or clip-retrieval -> a dataset that can be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frenchcat.commands.build import Json, Out, Set


def adopt(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="img2dataset's or clip-retrieval's folder.")
    ],
    out: Out,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Whose [clip] names the model that made the vectors, or shall make them.",
        ),
    ] = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Make a dataset of what other tools made, and index it; FOLDER is left as it is.

    Example: frenchcat adopt laion-index --out data/laion --config vit-b-32
    """
    import frenchcat
    from frenchcat.commands.build import print_info
    from frenchcat.progress import Bars
    from frenchcat.terminal import tell

    adopted = frenchcat.adopt(folder, out, config=config, set=set_ or (), progress=Bars())
    for note in adopted.notes:
        tell(f"note: {note}")
    print_info(adopted, json)
