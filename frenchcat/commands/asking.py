"""What verbs that ask share: the question; and for those that remove rows the line behind it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from frenchcat.curate.command_text import shell_command
from frenchcat.terminal import tell

if TYPE_CHECKING:
    from frenchcat.curate.removals import Request


def asked(question: str, otherwise: str) -> bool:
    """The answer at the terminal; where nobody can be asked, no, and `otherwise` is told."""
    answer = answered(question) if sys.stdin.isatty() else None
    if answer is None:
        tell(otherwise)
    return bool(answer)


def answered(question: str) -> bool | None:
    """Ask at the terminal; None if the input ends there, as by Ctrl-D."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        print(file=sys.stderr)  # noqa: T201  # the question's own line
        return None


def removed_line(request: Request, dataset: str, why: str = "") -> str:
    """What a removal did, and how it is undone."""
    back = shell_command("remove", dataset, "--undo", request.number)
    return (
        f"request {request.number}: {len(request.keys)} rows removed{why}; until they are "
        f"compacted, back with: {back}"
    )
