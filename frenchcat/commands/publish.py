"""The verb `publish`: a dataset's vectors and columns, into a database that people already run."""

from __future__ import annotations

from typing import Annotated

import typer

import frenchcat
from frenchcat.commands.build import Folder, Json
from frenchcat.terminal import say, say_json, tell


def publish(
    dataset: Folder,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="ADDRESS",
            help="postgresql://user@host/db?table=NAME or milvus://host/db?table=NAME",
        ),
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete another dataset's rows that are there.")
    ] = False,
    json: Json = False,
) -> None:
    """Publish vectors, keys and columns to a vector database, shard by shard.

    The same command again adds new shards and follows changed ones. Removals follow by themselves.

    Example: frenchcat publish data/mine --to 'postgresql://me@host/db?table=cats'
    """
    from frenchcat.index.publish import publication_notes
    from frenchcat.progress import Bars

    done = frenchcat.open(dataset).publish(to, replace=replace, progress=Bars())
    for note in publication_notes(done):
        tell(f"note: {note}")
    if json:
        say_json(done.as_dict())
        return
    say(
        f"{done.address}: {done.rows} rows; {done.put} shards written, {done.kept} up to date, "
        f"{done.dropped} deleted; recall@10 {done.recall:.3f}"
    )
