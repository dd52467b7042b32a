"""The verb `credits`: licences and authors of the images of a selection or a training run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import frenchcat
from frenchcat.commands.build import Json
from frenchcat.curate.safe_text import for_terminal
from frenchcat.terminal import say, say_json, tell

if TYPE_CHECKING:
    from frenchcat.curate.credits import Credits

_LICENCES, _NAME_CHARS = 20, 100  # that are printed, and characters of each


def credits(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A dataset's folder, or a training run's.")
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Of a dataset: the selection's name.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write credits.csv and credits.html into a new or empty folder."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Count the licences of a selection, or of every image a run has trained on; write the credits.

    Example: frenchcat credits data/mine cats

    Example: frenchcat credits data/run --to credits-of-run
    """
    found = frenchcat.credits(source, name, to)
    if json:
        say_json(found.as_dict())
    else:
        _print(found)
    if to is not None:
        tell(f"wrote {to / 'credits.csv'} and {to / 'credits.html'}")


def _print(found: Credits) -> None:
    about = found.as_dict()
    say(f"{for_terminal(found.name, _NAME_CHARS)}: {len(found.rows)} images")
    for licence, rows in list(found.licences.items())[:_LICENCES]:
        say(f"{rows:>9}  {for_terminal(licence, _NAME_CHARS)}")
    if (more := len(found.licences) - _LICENCES) > 0:
        say(f"           and {more} others, all of them with --json")
    say(
        f"{about['not_recognised']} state something that is not the name of a licence; "
        f"{about['without_author']} name no author"
    )
    if found.removed:
        say(f"{found.removed} further images were removed since; no credit is kept of them")
