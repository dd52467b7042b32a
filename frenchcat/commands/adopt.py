"""The verb `adopt`: a folder of other tools or of images -> a dataset that can be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frenchcat.commands.build import Json, Out, Set


def adopt(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="A folder of img2dataset, of clip-retrieval, or of images."
        ),
    ],
    out: Out,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Settings; their section [clip] names the model that made the vectors, or is to.",
        ),
    ] = None,
    caption_column: Annotated[
        str | None,
        typer.Option(
            "--caption-column", metavar="NAME", help="The captions' column; by its usual names."
        ),
    ] = None,
    url_column: Annotated[
        str | None,
        typer.Option("--url-column", metavar="NAME", help="The URLs' column; by its usual names."),
    ] = None,
    set_: Set = None,
    json: Json = False,
) -> None:
    """Make a dataset of a folder that is there, and index it; FOLDER is left as it is.

    FOLDER is one of img2dataset, of clip-retrieval, or of images with texts, metadata.jsonl or
    COCO captions. What is not taken is counted and named.

    Example: frenchcat adopt laion-index --out data/laion --config vit-b-32

    Example: frenchcat adopt my-pictures --out data/mine
    """
    import frenchcat
    from frenchcat.commands.build import print_info
    from frenchcat.progress import Bars
    from frenchcat.terminal import tell

    adopted = frenchcat.adopt(
        folder,
        out,
        config=config,
        set=set_ or (),
        url_column=url_column,
        caption_column=caption_column,
        progress=Bars(),
    )
    for note in adopted.notes:
        tell(f"note: {note}")
    print_info(adopted, json)
