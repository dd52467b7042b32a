"""Names and texts as SQL has them."""

from __future__ import annotations

import re


def quoted(name: str) -> str:
    """A column's name."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text."""
    return "'" + text.replace("'", "''") + "'"


def exactly(path: str) -> str:
    """A path, as DuckDB has it where it would take it for a pattern of paths."""
    return re.sub(r"[*?\[]", r"[\g<0>]", path)
