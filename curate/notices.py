"""Lines on stderr that a process says once."""

from __future__ import annotations

import sys


def say_once(message: str, _said: set[str] = set()) -> None:  # noqa: B006
    """Print a line on stderr the first time it is said in this process."""
    if message not in _said:
        _said.add(message)
        print(f"frenchcat: {message}", file=sys.stderr)  # noqa: T201
