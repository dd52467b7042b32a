"""What an adoption does not take, or takes in part: counted by kind, with the first names of each.

Reads and writes nothing. The names are strangers', so what cannot be printed is replaced.
"""

from __future__ import annotations

from collections import Counter

_EXAMPLES = 3


class LeftOut:
    """Counts by kind; each kind becomes one note."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._names: dict[str, list[str]] = {}

    def add(self, kind: str, name: str, count: int = 1) -> None:
        """Count files or rows; `kind` is the note's beginning, `name` says which one."""
        if not count:
            return
        self._counts[kind] += count
        names = self._names.setdefault(kind, [])
        if len(names) < _EXAMPLES:
            names.append(printable(name))

    def count(self, kind: str) -> int:
        """How many there are of a kind."""
        return self._counts[kind]

    def notes(self) -> list[str]:
        """One line per kind: how many, and the first of them by name."""
        return [
            f"{kind}: {number} ({', '.join(self._names[kind])}"
            f"{', …' if number > len(self._names[kind]) else ''})"
            for kind, number in self._counts.items()
        ]


def printable(name: str) -> str:
    """A name without control characters, at most 80 characters long."""
    return "".join(c if c.isprintable() else "\ufffd" for c in name)[:80]
