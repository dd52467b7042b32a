"""The verb `used`: whether an image is in a dataset, its selections and what was trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import frenchcat
from frenchcat.commands.asking import asked, removed_line
from frenchcat.commands.build import Folder, Json
from frenchcat.commands.signing import credentials_of
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.errors import UserError
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
    checkpoint: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this checkpoint of the runs.")
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove the rows that are found; asks first.")
    ] = False,
    note: Annotated[str, typer.Option(help="With --remove: stored with the request.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
    statement: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write a signed statement into this new or empty folder."
        ),
    ] = None,
    signing_key: Annotated[
        Path | None, typer.Option(metavar="PEM", help="Of the statement; default: your own.")
    ] = None,
    certificates: Annotated[
        Path | None, typer.Option(metavar="PEM", help="The key's certificates, the signer's first.")
    ] = None,
    json: Json = False,
) -> None:
    """Have I been used? In which rows, selections, training steps and checkpoints an image is.

    Exit status 0 if it is in the dataset, 1 if it is not, or if it was not removed.

    Example: frenchcat used data/mine --domain example.org

    Example: frenchcat used data/mine --like portrait.jpg --run data/run

    Example: frenchcat used data/mine --creator "Ada Example" --remove --statement answer
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
    if statement is None and (signing_key is not None or certificates is not None):
        raise UserError("--signing-key and --certificates sign a statement; add --statement FOLDER")
    opened = frenchcat.open(dataset)
    credentials = None
    if statement is not None:
        from frenchcat.curate.export import check_new
        from frenchcat.statement import check_can_sign
        from frenchcat.train.credentials import own_credentials

        given_ones = credentials_of(signing_key, certificates, "--signing-key")
        credentials = given_ones or own_credentials()
        check_new(statement, "--statement")
        check_can_sign(opened.dataset, credentials)  # before anything is removed
    request = None
    if remove:
        if checkpoint is not None:
            raise UserError("--checkpoint only looks; leave it out to --remove")

        def agree(found: Uses) -> bool:
            _show(found, json)
            question = f"Remove {len(found.matches)} rows?"
            return yes or asked(question, "add --yes to remove without a question")

        found, request = opened.remove_used(
            near=near, runs=run, note=note, agree=agree, **{by: value}
        )
        tell("nothing was removed" if request is None else removed_line(request, dataset))
    else:
        found = opened.used(near=near, runs=run, checkpoint=checkpoint, **{by: value})
        _show(found, json)
    if found.matches and not json:
        _advise(found, dataset, request is not None)
    if statement is not None:
        folder = opened.write_statement(found, statement, request, credentials)
        check = shell_command("verify", folder / "statement.json")
        tell(f"wrote {folder}: give away all of it; to check it: {check}")
    if not found.matches or (remove and request is None):
        raise typer.Exit(1)


def _show(found: Uses, json: bool) -> None:
    if json:
        say_json(found.as_dict())
    else:
        _print(found)


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


def _advise(found: Uses, dataset: str, removed: bool) -> None:
    if forgetful := [name for use in found.runs for name in use.cannot_forget]:
        first = "" if removed else f"a removal takes rows out of {dataset}; "
        tell(
            f"{first}{len(forgetful)} checkpoints were trained on "
            "them and cannot forget: train again from a selection made after the removal"
        )
