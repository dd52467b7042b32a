"""The verb `adopt`: a folder of other tools or of images -> a dataset that can be searched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from frenchcat.commands.build import Json, Out, Set, Yes


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
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Make a dataset of a folder that is there, and index it; FOLDER is left as it is.

    FOLDER is one of img2dataset, of clip-retrieval, or of images with texts, metadata.jsonl or
    COCO captions. What is not taken is counted and named.

    Example: frenchcat adopt laion-index --out data/laion --config vit-b-32

    Example: frenchcat adopt my-pictures --out data/mine

    Example: frenchcat adopt coco --out data/coco --set download.captions=all
    """
    import frenchcat
    from frenchcat.commands.build import agreed, print_info, say_changed, say_unused
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
