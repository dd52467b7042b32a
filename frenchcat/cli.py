"""The command `frenchcat`: mounts the verbs; turns a user's mistake into one line and status 2."""

from __future__ import annotations

import inspect
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, NoReturn, cast

import typer
from typer.core import TyperGroup

from frenchcat import __version__
from frenchcat.curate.errors import FrenchcatError
from frenchcat.curate.system_errors import system_error
from frenchcat.terminal import forgive_encodings, make_tracebacks_safe, say, tell

_EXAMPLE = re.compile(r"^(Example|Several GPUs): ", re.MULTILINE)
_ENDS = """Exit status: 0 done; 1 no: nothing was removed, traces are left, an image is changed or
unsigned, used found no row, audit found copies, doctor a fault, or you said no; 2 a mistake, or a
failure of disk, network or memory, named in one line on stderr; 130 stopped by Ctrl-C. Anything
else is a fault of frenchcat, with a traceback."""
VERBS = {  # verb -> its module of commands/, in the order of the help
    "demo": "build",
    "build": "build",
    "download": "build",
    "embed": "build",
    "score": "score",
    "dedup": "dedup",
    "verdict": "verdict",
    "keep": "decide",
    "drop": "decide",
    "decisions": "decide",
    "report": "report",
    "index": "build",
    "info": "build",
    "settings": "settings",
    "plan": "plan",
    "doctor": "doctor",
    "search": "search",
    "publish": "publish",
    "serve": "serve",
    "mcp": "serve",
    "adopt": "adopt",
    "select": "select",
    "export": "select",
    "lineage": "diff",
    "diff": "diff",
    "latents": "latents",
    "train": "train",
    "sample": "train",
    "evaluate": "train",
    "audit": "audit",
    "verify": "train",
    "used": "used",
    "skews": "skews",
    "credits": "credits",
    "recheck": "recheck",
    "remove": "remove",
    "compact": "remove",
}
_LOOK: dict[str, Any] = {
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,  # it would take "[clip]" for markup, and wrap examples in boxes
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


def help_of(verb: Callable[..., None]) -> str:
    """A verb's help: its docstring, with each example on one line so that it can be copied."""
    paragraphs = (inspect.getdoc(verb) or "").split("\n\n")
    return "\n\n".join(
        f"\b\n{part.replace(chr(10), ' ')}" if _EXAMPLE.match(part) else part for part in paragraphs
    )


class _Commands(Mapping[str, Any]):
    """The verbs as commands; a verb's module is imported when it is asked for."""

    def __getitem__(self, verb: str) -> Any:
        function = getattr(import_module(f"frenchcat.commands.{VERBS[verb]}"), verb)
        alone = typer.Typer(add_completion=False, **_LOOK)
        alone.command(verb, help=help_of(function))(function)
        return typer.main.get_command(alone)

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


class _VerbGroup(TyperGroup):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = cast(Any, _Commands())


app = typer.Typer(
    name="frenchcat",
    cls=_VerbGroup,
    **_LOOK,
    help="From a list of image URLs with captions to a dataset that you can search, clean, "
    "audit and train on.\n\nTry it: frenchcat demo",
    epilog=_ENDS,
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        say(f"frenchcat {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        for line in context.get_help().splitlines():
            say(line)


def main() -> None:
    """Run the command line: a mistake or a full disk gives status 2 and one line on stderr."""
    # albumentations, which img2dataset imports, asks a server for updates unless this is set.
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
