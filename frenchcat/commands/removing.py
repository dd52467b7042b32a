"""What the verbs that remove rows share: the question, and the line behind it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from frenchcat.terminal import tell

if TYPE_CHECKING:
    from frenchcat.curate.removals import Request


def asked(question: str, otherwise: str) -> bool:
    """The answer at the terminal; where nobody can be asked, no, and `otherwise` is told."""
    if not sys.stdin.isatty():
        tell(otherwise)
        return False
    return typer.confirm(question, err=True)


def removed_line(request: Request, dataset: str, why: str = "") -> str:
    """What a removal did, and how it is undone."""
    return (
        f"request {request.number}: {len(request.keys)} rows removed{why}; until they are "
        f"compacted, back with: frenchcat remove {dataset} --undo {request.number}"
    )
