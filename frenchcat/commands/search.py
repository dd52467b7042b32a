"""The verb `search`: prints the hits of a query as a table or JSON lines, or writes a contact
sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import frenchcat

if TYPE_CHECKING:
    from frenchcat.index.search import Hit, Searcher
    from frenchcat.index.terms import Term, Terms


def search(
    dataset: Annotated[
        str,
        typer.Argument(metavar="DATASET", help="The dataset's folder, or where it was published."),
    ],
    query: Annotated[str | None, typer.Argument(help='What to look for: "french cat".')] = None,
    image: Annotated[
        Path | None, typer.Option("--image", metavar="FILE", help="Search by this image.")
    ] = None,
    plus: Annotated[
        list[str] | None,
        typer.Option("--plus", metavar="TERM", help="Add a text or an image file. Repeatable."),
    ] = None,
    minus: Annotated[
        list[str] | None,
        typer.Option(
            "--minus", metavar="TERM", help="Subtract a text or an image file. Repeatable."
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option("--by", metavar="image|text", help="Compare with images or with captions."),
    ] = "image",
    hybrid: Annotated[
        bool, typer.Option("--hybrid", help="Also find rows whose captions contain the words.")
    ] = False,
    k: Annotated[int, typer.Option("-k", help="Number of hits.")] = 10,
    where: Annotated[
        str | None, typer.Option("--where", metavar="SQL", help="A condition: 'width >= 256'.")
    ] = None,
    min_similarity: Annotated[
        float | None,
        typer.Option(
            "--min-similarity",
            metavar="COSINE",
            help="Leave out hits whose similarity to the query is lower (-1 to 1).",
        ),
    ] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Also show rows that are judged unsafe.")
    ] = False,
    duplicates: Annotated[
        bool,
        typer.Option("--duplicates", help="Show every row of a cluster of duplicates, not one."),
    ] = False,
    dropped: Annotated[
        bool, typer.Option("--dropped", help="Also show rows that verdicts drop for other reasons.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per hit.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a contact sheet here.")
    ] = None,
) -> None:
    """Find the rows of a dataset nearest to a text, an image, or a sum of both.

    Example: frenchcat search data/mine "french cat" -k 20 --html french-cat.html

    Example: frenchcat search data/mine cat --plus beret.jpg --minus drawing --where 'width >= 512'

    Example: frenchcat search 'postgresql://me@host/db?table=cats' "french cat"
    """
    from frenchcat.curate.outputs import check_page
    from frenchcat.index.search import View, check
    from frenchcat.terminal import say, tell

    if html is not None:
        check_page(html, "--html")
    terms = _terms(query, image, plus or [], minus or [])
    check(k, by, min_similarity)
    searcher = _searcher(dataset)
    view = View(where, safe=not unsafe, duplicates=duplicates, dropped=dropped)
    searcher.visible.mask(view)  # a bad condition is refused before the model is loaded
    (vector,) = searcher.encode_many([terms])
    if hybrid:
        ranked = searcher.hybrid(query or "", vector, k, by, view)
    else:
        ranked = searcher.ranked(vector, k, by, view)
    near = ranked.at_least(min_similarity)
    hits = searcher.hits(near)
    if html is not None:
        from frenchcat.contact_sheet import contact_sheet

        contact_sheet(hits, query or str(image), html, searcher.picture)
    _print(hits, json)
    if less := len(ranked) - len(near):
        tell(f"{less} of {len(ranked)} hits are below {min_similarity:g}")
    if hidden := searcher.hidden(vector, k, by, view):
        said = ", ".join(f"{number} {reason}" for reason, number in hidden.items())
        tell(f"of the {k} nearest rows of all, hidden: {said}")
    if html is not None and not json:
        say(f"wrote {html}")


def _searcher(dataset: str) -> Searcher:
    """Of a dataset's folder, or of the database that it was published to."""
    from frenchcat.curate.vector_stores import is_store

    if not is_store(dataset):
        return frenchcat.open(dataset).searcher()
    from frenchcat.index.store_searcher import StoreSearcher
    from frenchcat.terminal import tell

    found = StoreSearcher(dataset)
    if not found.contents.complete:
        done, all_ = len(found.store.shards()), found.contents.shards
        tell(f"the publication is not complete: {done} of {all_} shards are there")
    return found


def _terms(
    query: str | None, image: Path | None, plus: Sequence[str], minus: Sequence[str]
) -> Terms:
    """The query's terms, each with weight 1 or -1. Raises `UserError` if there are none."""
    from frenchcat.curate.errors import UserError
    from frenchcat.index.terms import QueryImage, Text

    if (query is None) == (image is None):
        raise UserError('give one query: a text ("french cat") or an image (--image cat.jpg)')
    if image is not None and not image.exists():
        raise UserError(f"--image {image}: no such file")
    if image is not None and image.is_dir():
        raise UserError(f"--image {image} is a folder; give an image file")
    first: Term = Text(query) if query is not None else QueryImage(image or "")
    more = [(1.0, _term(term)) for term in plus] + [(-1.0, _term(term)) for term in minus]
    return [(1.0, first), *more]


def _term(given: str) -> Term:
    """An image if there is a file of that name, else a text."""
    from frenchcat.curate.adopt.kept import IMAGE_ENDINGS
    from frenchcat.curate.errors import UserError
    from frenchcat.index.terms import QueryImage, Text

    if Path(given).is_file():
        return QueryImage(given)
    if Path(given).suffix.lower()[1:] in IMAGE_ENDINGS:
        raise UserError(f"{given}: no such file; give an existing image file, or a text")
    return Text(given)


def _print(hits: Sequence[Hit], json: bool) -> None:
    if not json:
        from frenchcat.tables import hits_table

        hits_table(hits)
        return
    from frenchcat.terminal import say_json_lines

    say_json_lines(hit.as_dict() for hit in hits)
