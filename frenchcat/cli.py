"""The command `frenchcat`: mounts the verbs, turns a user's mistake into one line and status 2."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn

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
from frenchcat.curate.system_errors import system_error
from frenchcat.terminal import forgive_encodings, make_tracebacks_safe, say, tell

_EXAMPLE = re.compile(r"^(Example|Several GPUs): ", re.MULTILINE)
_ENDS = """Exit status: 0 done; 1 no: nothing was removed, or a picture is changed or unsigned; 2 a
mistake, or a disk, a network or a memory that failed, told in one line on stderr; 130 stopped by
Ctrl-C. Anything else is a fault of frenchcat, with a traceback."""

app = typer.Typer(
    name="frenchcat",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # it would take "[clip]" for markup, and wrap examples in boxes
    context_settings={"help_option_names": ["-h", "--help"]},
    help="From a list of image URLs with captions to a dataset one can search, clean, "
    "answer for and train on.\n\nTry it: frenchcat demo",
    epilog=_ENDS,
)


def help_of(verb: Callable[..., None]) -> str:
    """A verb's help: its docstring, each example on one line that can be copied."""
    paragraphs = (inspect.getdoc(verb) or "").split("\n\n")
    return "\n\n".join(
        f"\b\n{part.replace(chr(10), ' ')}" if _EXAMPLE.match(part) else part for part in paragraphs
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
    serve.mcp,
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
    app.command(help=help_of(function))(function)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        from frenchcat import __version__

        say(f"frenchcat {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        for line in context.get_help().splitlines():
            say(line)


def main() -> None:
    """Run the command line; exit status 2 and one line on stderr for a mistake or a full disk."""
    # albumentations, which img2dataset imports, asks a server for news unless told not to.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    forgive_encodings()
    make_tracebacks_safe()
    try:
        app()
    except FrenchcatError as error:
        _end(str(error))
    except BrokenPipeError:  # `frenchcat search … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        if (said := system_error(error)) is None:
            raise
        _end(said)


def _end(said: str) -> NoReturn:
    tell(f"frenchcat: {said}")
    sys.exit(2)
