"""The verb `report`: one HTML page that says what a dataset contains and what was lost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import frenchcat
from frenchcat.commands.build import Folder


def report(
    dataset: Folder,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="The page's file; by default beside the dataset."
        ),
    ] = None,
    terms: Annotated[
        list[str] | None,
        typer.Option(
            "--terms", metavar="FILE", help="Another word list for the audit. Repeatable."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A=VALUE", help="Change a setting: --set replicates=4000."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Write one HTML page: what a dataset contains, what was lost and why, and who is affected.

    Example: frenchcat report data/mine --out mine.html --terms my-words.toml
    """
    from frenchcat.terminal import say, say_json

    path = frenchcat.open(dataset).report(out, terms=terms or (), set=set_ or ())
    if json:
        say_json({"page": str(path), "bytes": path.stat().st_size})
    else:
        say(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB): open it in a browser")
