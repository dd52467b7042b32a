"""The verbs `remove` and `compact`: take rows out of a dataset, at once and then for good."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import frenchcat
from frenchcat.commands.asking import asked, removed_line
from frenchcat.commands.build import Folder, Json
from frenchcat.curate.command_text import shell_command
from frenchcat.only_one import only_one
from frenchcat.terminal import say, say_json, say_json_lines, tell

if TYPE_CHECKING:
    from frenchcat.curate.dataset import Dataset
    from frenchcat.curate.remove import Match

Option = str | None
SHOWN = 10  # matches printed before a removal; --json prints all


def remove(
    dataset: Folder,
    url: Annotated[Option, typer.Option(help="Rows with this URL, in any spelling.")] = None,
    domain: Annotated[Option, typer.Option(help="All rows from this domain or host.")] = None,
    sha256: Annotated[Option, typer.Option(help="The image with this digest.")] = None,
    uid: Annotated[Option, typer.Option(help="The row with this uid.")] = None,
    key: Annotated[Option, typer.Option(help="The row with this key.")] = None,
    like: Annotated[
        Path | None,
        typer.Option(metavar="IMAGE", help="Duplicates and near-duplicates of this image."),
    ] = None,
    near: Annotated[
        bool, typer.Option("--near", help="Also near-duplicates of the matching rows.")
    ] = False,
    note: Annotated[
        str, typer.Option(help="Stored with the request: who asked, a reference.")
    ] = "",
    undo: Annotated[
        int | None, typer.Option(metavar="N", help="Undo request N, unless it was compacted.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Check that nothing is left of removed rows.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per match.")] = False,
) -> None:
    """Remove rows: they vanish at once from search, selections and exports; never crawled again.

    Shows what matches and asks before it removes. `frenchcat compact` deletes the bytes.

    Example: frenchcat remove data/mine --url https://example.org/cat.jpg

    Example: frenchcat remove data/mine --like portrait.jpg --near --yes

    Example: frenchcat remove data/mine --check

    Example: frenchcat remove data/mine --undo 3
    """
    opened = frenchcat.open(dataset)
    if check:
        _check(opened.dataset, json)
        return
    if undo is not None:
        request = opened.undo_removal(undo, note)
        if json:
            say_json({"undone": undo, "rows": len(request.keys)})
        tell(
            f"request {undo} is undone: {len(request.keys)} rows are back; where stages ran "
            f"meanwhile, run them again: {shell_command('verdict', dataset)}"
        )
        return
    given: dict[str, str | Path | None] = {
        "url": url,
        "domain": domain,
        "sha256": sha256,
        "uid": uid,
        "key": key,
        "like": like,
    }
    by, value = only_one(given, "say what to remove", given, "--")

    def agree(found: Sequence[Match]) -> bool:
        _show(found, json)
        return yes or _agreed(len(found))

    removed = opened.remove(near=near, note=note, agree=agree, **{by: value})
    if removed is None:
        tell("nothing was removed")
        raise typer.Exit(1)
    tell(removed_line(removed, dataset))


def compact(dataset: Folder, json: Json = False) -> None:
    """Delete removed rows for good: rewrite shards, vectors, scores and index without them.

    Example: frenchcat compact data/mine
    """
    from frenchcat.progress import Bars

    done = frenchcat.open(dataset).compact(progress=Bars())
    if json:
        say_json(done)
    else:
        say(f"{done['rows']} rows taken out of {done['shards']} shards")


def _show(found: Sequence[Match], json: bool) -> None:
    if json:
        say_json_lines(
            {"key": match.key, "url": match.url, "caption": match.caption, "why": match.why}
            for match in found
        )
        return
    from frenchcat.tables import matches_table

    matches_table(found, SHOWN)


def _agreed(rows: int) -> bool:
    if rows:
        return asked(f"Remove {rows} rows?", "add --yes to remove without a question")
    return asked(
        "No row matches. Record it for later crawls?",
        "no row matches; --yes records the request anyway, so that later crawls skip it",
    )


def _check(dataset: Dataset, json: bool) -> None:
    from frenchcat.curate import remove as removal

    left = removal.residue(dataset)
    for one in left:
        if json:
            say_json({"file": one.file, "what": one.what})
        else:
            say(f"{one.file}: {one.what}")
    if left:
        tell(f"{len(left)} traces are left; run: {shell_command('compact', dataset.root)}")
        raise typer.Exit(1)
    tell("nothing of removed rows is left")
