"""The command `frenchcat`: mounts the verbs, turns a user's mistake into one line and status 2."""

from __future__ import annotations

import os
import sys

import typer

from frenchcat.commands import (
    adopt,
    build,
    dedup,
    diff,
    remove,
    report,
    score,
    search,
    select,
    serve,
    settings,
    train,
    verdict,
)
from frenchcat.curate.errors import FrenchcatError

app = typer.Typer(
    name="frenchcat",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="From a list of image URLs with captions to a dataset one can search, clean, "
    "answer for and train on.\n\nTry it: [bold]frenchcat demo[/bold]",
)
for function in (
    build.demo,
    build.build,
    build.download,
    build.embed,
    score.score,
    dedup.dedup,
    verdict.verdict,
    report.report,
    build.index,
    build.info,
    settings.settings,
    search.search,
    serve.serve,
    adopt.adopt,
    select.select,
    select.export,
    diff.lineage,
    diff.diff,
    train.train,
    train.sample,
    train.evaluate,
    train.verify,
    remove.remove,
    remove.compact,
):
    app.command()(function)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from frenchcat import __version__

        print(f"frenchcat {__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line; exit status 2 and one line on stderr for a user's mistake."""
    # albumentations, which img2dataset imports, asks a server for news unless told not to.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        app()
    except FrenchcatError as error:
        print(f"frenchcat: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # `frenchcat search … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        print("frenchcat: stopped; the same command again goes on", file=sys.stderr)
        sys.exit(130)
