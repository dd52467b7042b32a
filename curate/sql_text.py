"""Names and texts as SQL has them."""

from __future__ import annotations


def quoted(name: str) -> str:
    """A column's name."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text."""
    return "'" + text.replace("'", "''") + "'"
