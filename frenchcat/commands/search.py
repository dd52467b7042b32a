"""The verb `search`: a query -> a table, JSON lines or a contact sheet."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from frenchcat.commands.build import Folder


def search(
    dataset: Folder,
    query: Annotated[str | None, typer.Argument(help='What to look for: "french cat".')] = None,
    image: Annotated[
        Path | None, typer.Option("--image", metavar="FILE", help="Look for pictures like this.")
    ] = None,
    by: Annotated[
        str, typer.Option("--by", metavar="image|text", help="Compare with pictures or captions.")
    ] = "image",
    k: Annotated[int, typer.Option("-k", help="How many hits.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a hit on stdout.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a contact sheet here.")
    ] = None,
) -> None:
    """The rows of a dataset nearest to a text or a picture.

    Example: frenchcat search data/mine "french cat" -k 20 --html french-cat.html
    """
    from curate.dataset import Dataset
    from curate.errors import UserError
    from index.search import Searcher

    if (query is None) == (image is None):
        raise UserError('give one query: a text ("french cat") or a picture (--image cat.jpg)')
    if image is not None and not image.exists():
        raise UserError(f"--image {image}: no such file")
    searcher = Searcher(Dataset.open(dataset))
    hits = searcher.query(text=query, picture=image, k=k, by=by)
    if html is not None:
        from frenchcat.contact_sheet import contact_sheet

        contact_sheet(hits, query or str(image), html, searcher.picture)
    if json:
        from json import dumps

        for hit in hits:
            print(dumps(hit.as_dict(), ensure_ascii=False, default=str))
        return
    from frenchcat.tables import hits_table

    hits_table(hits)
    if html is not None:
        print(f"wrote {html}")
