"""The verb `used`: whether an image is in a dataset, its selections and what was trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import frenchcat
from frenchcat.commands.build import Folder, Json
from frenchcat.curate.safe_text import CAPTION_CHARS, URL_CHARS, for_terminal
from frenchcat.only_one import only_one
from frenchcat.terminal import say, say_json, tell

if TYPE_CHECKING:
    from frenchcat.used import Uses

_ROWS, _STEPS = 20, 8  # that are printed of a dataset's, and of a run's


def used(
    dataset: Folder,
    url: Annotated[str | None, typer.Option(metavar="URL", help="The row of this URL.")] = None,
    domain: Annotated[
        str | None, typer.Option(metavar="DOMAIN", help="All rows of a domain and below it.")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="Of the bytes as fetched or as stored.")
    ] = None,
    uid: Annotated[str | None, typer.Option(metavar="UID", help="Of the row.")] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Of the row.")] = None,
    like: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The image itself, and near copies.")
    ] = None,
    creator: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whoever the list, the file or the site names."),
    ] = None,
    near: Annotated[bool, typer.Option("--near", help="Near copies, too.")] = False,
    run: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="A training run's folder; repeatable. By default those beside the dataset.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Have I been used? In which rows, selections, training steps and checkpoints an image is.

    Exit status 0 if it is in the dataset, 1 if it is not. Nothing is removed.

    Example: frenchcat used data/mine --domain example.org

    Example: frenchcat used data/mine --like portrait.jpg --run data/run
    """
    given: dict[str, str | Path | None] = {
        "url": url,
        "domain": domain,
        "sha256": sha256,
        "uid": uid,
        "key": key,
        "like": like,
        "creator": creator,
    }
    by, value = only_one(given, "say what to look for", given, "--")
    found = frenchcat.open(dataset).used(near=near, runs=run, **{by: value})
    if json:
        say_json(found.as_dict())
    else:
        _print(found)
        if found.matches:
            _advise(found, dataset)
    if not found.matches:
        raise typer.Exit(1)


def _print(found: Uses) -> None:
    say(f"{len(found.matches)} rows match")
    for one in found.matches[:_ROWS]:
        url = for_terminal(one.url or "", URL_CHARS)
        say(f"  {one.key}  {url}  {for_terminal(one.caption or '', CAPTION_CHARS)}  ({one.why})")
    if len(found.matches) > _ROWS:
        say(f"  and {len(found.matches) - _ROWS} more, all of them with --json")
    for name, rows in found.selections.items():
        say(f"selection {name}: {rows} of these rows")
    for use in found.runs:
        draws = sorted(step for steps in use.steps.values() for step in steps)
        say(
            f"run {use.run} (selection {use.selection}, {use.step} steps): {len(use.steps)} of "
            f"these rows, drawn {len(draws)} times"
        )
        if draws:
            steps = sorted(set(draws))
            more = f", … {steps[-1]}" if len(steps) > _STEPS else ""
            say(f"  at steps {', '.join(map(str, steps[:_STEPS]))}{more}")
        if use.held_out:
            say(f"  held out, never trained on: {len(use.held_out)}")
        for checkpoint in use.checkpoints:
            times = f"trained on them {checkpoint.times} times" if checkpoint.times else "not"
            say(f"  {checkpoint.name}: {times}")


def _advise(found: Uses, dataset: str) -> None:
    if forgetful := [name for use in found.runs for name in use.cannot_forget]:
        tell(
            f"a removal takes rows out of {dataset}; {len(forgetful)} checkpoints were trained on "
            "them and cannot forget: train again from a selection made after the removal"
        )
