"""The verb `recheck`: sites are asked again what they say about the use of their images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import frenchcat
from frenchcat.commands.asking import asked, removed_line
from frenchcat.commands.build import AllowHost, Folder, Json, Set
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.safe_text import URL_CHARS, for_terminal
from frenchcat.terminal import say, say_json, tell

if TYPE_CHECKING:
    from frenchcat.curate.recheck import Rechecked

_SHOWN = 20  # changed rows that are printed


def recheck(
    dataset: Folder,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Ask about at most this many rows.")
    ] = None,
    older_than: Annotated[
        float, typer.Option(metavar="DAYS", help="Ask about rows not asked within these days.")
    ] = 30.0,
    sites_only: Annotated[
        bool, typer.Option("--sites-only", help="Ask for sites' files, not for images' headers.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Remove rows that were opted out since the crawl.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
    set_: Set = None,
    allow_host: AllowHost = None,
    json: Json = False,
) -> None:
    """Ask robots.txt, TDM files and headers again: what was opted out since the crawl?

    As polite as the crawl. The same command resumes; --remove also removes what was found before.

    Example: frenchcat recheck data/mine --limit 10000

    Example: frenchcat recheck data/mine --sites-only --remove
    """
    from frenchcat.progress import Bars

    opened = frenchcat.open(dataset)
    found = opened.recheck(
        limit=limit,
        older_than_days=older_than,
        images=not sites_only,
        progress=Bars(),
        set=set_ or (),
        allow_hosts=allow_host or (),
    )
    say_json(found.as_dict()) if json else _print(found, dataset)
    if not remove:
        return

    def agree(rows: int) -> bool:
        otherwise = f"{rows} rows were opted out since the crawl; add --yes to remove them"
        return yes or asked(f"Remove {rows} rows?", otherwise)

    request = opened.remove_opted_out(agree=agree)
    if request is None:
        tell("nothing was removed")
        return
    tell(removed_line(request, dataset, f" ({request.note})"))


def _print(found: Rechecked, dataset: str) -> None:
    told = found.as_dict()
    say(f"asked about {found.asked} rows; {found.due} more are due")
    say(
        f"opted out since the crawl: {told['new_opt_out']}; withdrawn: {told['withdrawn']}; other "
        f"words: {told['changed']}; the same: {told['same']}; no answer: {told['no_answer']}"
    )
    for reason, rows in told["unanswered"].items():
        say(f"{rows:>9}  {for_terminal(reason)}")
    for one in found.changes[:_SHOWN]:
        url = for_terminal(one.url, URL_CHARS)
        say(f"  {one.key}  {one.outcome}  {', '.join(one.signals)}  {one.time or ''}  {url}")
    if len(found.changes) > _SHOWN:
        say(f"  and {len(found.changes) - _SHOWN} more, all of them with --json")
    if found.first is not None:
        say(f"answers of {found.first} to {found.last}")
    if told["new_opt_out"]:
        tell(f"to remove them: {shell_command('recheck', dataset, '--remove')}")
