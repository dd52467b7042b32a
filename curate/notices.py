"""Lines on stderr of what stages notice: file names and columns of strangers among them."""

from __future__ import annotations

import sys

from frenchcat.curate.safe_text import MESSAGE_CHARS, for_terminal


def notice(message: str) -> None:
    """Print a line on stderr, safe for a terminal."""
    print(f"frenchcat: {for_terminal(message, MESSAGE_CHARS)}", file=sys.stderr)  # noqa: T201


def say_once(message: str, _said: set[str] = set()) -> None:  # noqa: B006
    """Print a line on stderr the first time it is said in this process."""
    if message not in _said:
        _said.add(message)
        notice(message)
