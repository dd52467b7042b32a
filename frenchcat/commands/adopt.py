"""The verb `adopt`: a folder made by another tool, or of images, becomes a searchable dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import frenchcat
from frenchcat.commands.build import (
    Json,
    Out,
    Set,
    Yes,
    agreed,
    print_info,
    say_changed,
    say_unused,
)


def adopt(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="A folder made by img2dataset or clip-retrieval, or one of images.",
        ),
    ],
    out: Out,
    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="Settings; section [clip] names the CLIP model.",
        ),
    ] = None,
    caption_column: Annotated[
        str | None,
        typer.Option(
            "--caption-column",
            metavar="NAME",
            help="The captions' column; by default found by its usual names.",
        ),
    ] = None,
    url_column: Annotated[
        str | None,
        typer.Option(
            "--url-column",
            metavar="NAME",
            help="The URLs' column; by default found by its usual names.",
        ),
    ] = None,
    set_: Set = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Make a dataset of an existing folder, and index it. FOLDER itself is not changed.

    FOLDER was made by img2dataset or clip-retrieval, or holds images with texts, metadata.jsonl or
    COCO captions. The command counts and names what it does not take.

    Example: frenchcat adopt laion-index --out data/laion --config vit-b-32

    Example: frenchcat adopt my-pictures --out data/mine

    Example: frenchcat adopt coco --out data/coco --set download.captions=all
    """
    from frenchcat.progress import Bars
    from frenchcat.terminal import tell

    say_unused("adopt", config)
    how: dict[str, Any] = {"config": config, "set": set_ or ()}
    say_changed(out, how)
    how |= {"url_column": url_column, "caption_column": caption_column}
    adopted = agreed(yes, lambda yes: frenchcat.adopt(folder, out, yes=yes, progress=Bars(), **how))
    for note in adopted.notes:
        tell(f"note: {note}")
    print_info(adopted, json)
