"""The verbs `select` and `export`: freeze rows that meet a condition; write them for other
tools.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import frenchcat
from frenchcat.commands.build import Folder

if TYPE_CHECKING:
    from frenchcat.curate.export import Exported

Name = Annotated[str, typer.Argument(metavar="NAME", help="The selection's name.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def select(
    dataset: Folder,
    name: Name,
    where: Annotated[
        str | None, typer.Option(metavar="SQL", help="A condition over the dataset's columns.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="The maximum number of rows.")] = None,
    balance: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="With --limit: spread rows evenly over its values."),
    ] = None,
    weight: Annotated[
        str | None, typer.Option(metavar="SQL", help="How often training draws each row.")
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(metavar="SQL", help="A label per row, or null, for training a classifier."),
    ] = None,
    licence: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only rows under this licence, such as CC0 or CC-BY-4.0; repeatable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides which rows --limit keeps.")] = 0,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace another selection of this name.")
    ] = False,
    json: Json = False,
) -> None:
    """Freeze the rows that meet a condition, for training and export.

    Example: frenchcat select data/mine cats --where "similarity > .25 and width >= 256"
    """
    from frenchcat.terminal import say, say_json, tell

    made = frenchcat.open(dataset).select(
        name,
        where,
        limit=limit,
        balance=balance,
        weight=weight,
        label=label,
        seed=seed,
        replace=replace,
        licences=licence or (),
    )
    if not any(made.rows["size"].to_pylist()):
        said = "the dataset was adopted without images: export the selection as csv, croissant or"
        tell(f"note: {said} datacomp; training needs images")
    if json:
        say_json({"name": name, "rows": len(made), "digest": made.digest, "sql": made.sql})
    else:
        say(f"{name}: {len(made)} rows, digest {made.digest[:16]}")


def export(
    dataset: Folder,
    name: Name,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="A new or empty folder.")],
    format_: Annotated[
        str,
        typer.Option("--format", help="webdataset, datacomp, csv, croissant, credits or lance."),
    ] = "webdataset",
    json: Json = False,
) -> None:
    """Write a selection in a format for other tools.

    Prints how many rows and bytes it wrote, how many rows it refused, and what the format omits.

    Example: frenchcat export data/mine cats --to cats-tars --format webdataset
    """
    from frenchcat.progress import Rows
    from frenchcat.terminal import say, say_json, tell

    selection, made = frenchcat.open(dataset).selection(name), list["Exported"]()
    with Rows("export", len(selection)) as bar:
        selection.export(to, format_, bar.advance, made.append)
    (done,) = made
    for said in done.left_out:
        tell(f"note: left out: {said}")
    if json:
        say_json(done.as_dict())
        return
    refused = ", ".join(f"{reason} {number}" for reason, number in done.refused.items())
    more = f"; {done.refused.total()} rows refused: {refused}" if refused else ""
    say(f"wrote {done.folder}: {done.rows} rows, {done.bytes} bytes{more}")
