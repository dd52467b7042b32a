"""The verbs `keep`, `drop` and `decisions`: what somebody decides by hand, against the rules."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

import frenchcat
from frenchcat.commands.build import Folder, Json
from frenchcat.curate.command_text import shell_command
from frenchcat.terminal import say, say_json, say_json_lines, tell

if TYPE_CHECKING:
    from frenchcat.curate.decisions import Decision

Keys = Annotated[list[str] | None, typer.Argument(metavar="KEY...", help="The rows' keys.")]
Where = Annotated[
    str | None, typer.Option(metavar="SQL", help="In place of keys: all rows that meet it.")
]
Note = Annotated[str, typer.Option(help="Kept with the decision.")]


def keep(
    dataset: Folder, keys: Keys = None, where: Where = None, note: Note = "", json: Json = False
) -> None:
    """Keep rows by hand, whatever the rules of the verdicts say.

    Example: frenchcat keep data/mine 000000004 000000017

    Example: frenchcat keep data/mine --where "reason = 'too_small' and width > 190"
    """
    _say(dataset, frenchcat.open(dataset).keep(keys or (), where=where, note=note), json)


def drop(
    dataset: Folder, keys: Keys = None, where: Where = None, note: Note = "", json: Json = False
) -> None:
    """Drop rows by hand: hidden from search, never selected; nothing is deleted.

    Example: frenchcat drop data/mine 000000004 --note "upside down"
    """
    _say(dataset, frenchcat.open(dataset).drop(keys or (), where=where, note=note), json)


def decisions(
    dataset: Folder,
    undo: Annotated[int | None, typer.Option(metavar="N", help="Take decision N back.")] = None,
    note: Note = "",
    json: Json = False,
) -> None:
    """List what was kept and dropped by hand, or take one decision back.

    Example: frenchcat decisions data/mine

    Example: frenchcat decisions data/mine --undo 3
    """
    from frenchcat.curate.decisions import undone

    opened = frenchcat.open(dataset)
    if undo is not None:
        found = opened.undo_decision(undo, note)
        if json:
            say_json({"undone": undo, "rows": len(found.keys)})
        tell(f"decision {undo} is undone: the rules judge its {len(found.keys)} rows again")
        return
    made = opened.decisions()
    if json:
        say_json_lines(asdict(one) for one in made)
        return
    gone = undone(made)
    for one in made:
        what = f"undoes {one.undoes}" if one.undoes is not None else "keep" if one.keep else "drop"
        rows = "" if one.undoes is not None else f" {len(one.keys)} rows"
        state = ", undone" if one.number in gone else ""
        say(f"{one.number}  {one.time}  {what}{rows}{state}{'  ' + one.note if one.note else ''}")
    if not made:
        tell(f"nothing was decided by hand; to do so: {shell_command('drop', dataset, 'KEY')}")


def _say(dataset: str, made: Decision, json: bool) -> None:
    if json:
        say_json(asdict(made))
    verb = "kept" if made.keep else "dropped"
    back = shell_command("decisions", dataset, "--undo", made.number)
    tell(f"decision {made.number}: {len(made.keys)} rows {verb}; back with: {back}")
