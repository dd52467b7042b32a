"""The verb `adopt`: a folder of img2dataset or clip-retrieval -> a dataset that can be searched."""

from __future__ import annotations

import sys
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
    from frenchcat import pipeline
    from frenchcat.commands.build import _print_info, _settings
    from frenchcat.curate.adopt import adopt as adopt_folder
    from frenchcat.curate.embed import embed
    from frenchcat.index.build import build_index
    from frenchcat.progress import Bars

    named = config is not None or bool(set_)
    settings = _settings(None, config, set_)
    adopted = adopt_folder(folder, out, settings.clip if named else None, Bars())
    dataset = adopted.dataset
    with dataset.lock():
        if not adopted.embedded:
            pipeline.save_settings(dataset, settings)
            embed(dataset, settings.clip, progress=Bars())
        build_index(dataset, settings.index, Bars())
    for note in adopted.notes:
        print(f"note: {note}", file=sys.stderr)
    _print_info(dataset, json)
