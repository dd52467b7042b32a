"""The verbs `lineage` and `diff`: what made a file, and how two builds differ."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

import frenchcat
from frenchcat.commands.build import Folder, Json


def lineage(
    dataset: Folder,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="Path in the dataset, such as shards/00000.tar")
    ],
    json: Json = False,
) -> None:
    """Show what made a file: stage, settings, version and inputs, back to the URL list.

    Example: frenchcat lineage data/mine verdicts/00000.parquet
    """
    from frenchcat.terminal import say_json

    for made in frenchcat.open(dataset).lineage(file):
        if json:
            say_json(made.as_dict())
        else:
            from frenchcat.tables import origin_lines

            origin_lines(made)


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A dataset's folder.")],
    after: Annotated[str, typer.Argument(metavar="B", help="Another build's.")],
    json: Json = False,
) -> None:
    """Compare two builds by uid: rows added, removed or changed, and changed verdicts.

    Images whose bytes changed are graded: re-encoded, edited or replaced. Domains at which far more
    were replaced than elsewhere are named: they may have a new owner.

    Example: frenchcat diff data/november data/december --json
    """
    from frenchcat.terminal import say_json_lines

    found = frenchcat.diff(before, after)
    if json:
        say_json_lines(change.as_dict() for change in found.changes)
        say_json_lines({"change": "domain", **asdict(one)} for one in found.domains)
        return
    from frenchcat.tables import diff_table

    diff_table(found)
