"""One file of a URL list on this machine, how it is to be read, and what was odd about it.

Reads and writes nothing; shared by the readers of all formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from frenchcat.curate.errors import UserError

ROW = "frenchcat_row"
"""The column of a copied list that holds a row's line or number in its file, counted from 1."""

SOURCE = "frenchcat_source"
"""The column of a list with the file that a row came from."""
RESERVED = frozenset({ROW, SOURCE, "frenchcat_url", "frenchcat_caption"})
"""Columns that are added while a list is read; the list's own of these names become
``list_<name>``.
"""

Captions = Literal["first", "longest", "all"]
Quotes = Literal["auto", "csv", "none"]
BadRows = Literal["refuse", "keep"]


@dataclass(frozen=True)
class Reading:
    """How a list is read; by default this is found out."""

    url_column: str | None = None  # None: by its usual names
    caption_column: str | None = None  # None: by its usual names, or none
    image_column: str | None = None  # None: by its usual names, or none
    columns: tuple[str, ...] = ()  # of a csv or tsv without a header, in their order
    captions: Captions = "first"  # of a row with several captions
    quotes: Quotes = "auto"
    encoding: str | None = None  # None: UTF-8, or as the byte order mark says
    bad_rows: BadRows = "refuse"

    def as_json(self) -> dict[str, Any]:
        """What differs from the defaults, besides the columns for URL and caption."""
        plain = {**vars(self), "columns": list(self.columns)}
        usual = {**vars(Reading()), "columns": []}
        told = ("url_column", "caption_column")
        return {n: plain[n] for n in usual if n not in told and plain[n] != usual[n]}


class Oddities:
    """What was replaced, or kept despite a fault, while a file was read: how often, and where
    first.

    Also where a JSON column first contained an object, or a list of things other than texts.
    """

    def __init__(self) -> None:
        self._remarks: dict[str, None] = {}
        self._counts: dict[str, int] = {}
        self._first: dict[str, int] = {}
        self.nested: dict[str, int] = {}  # column -> row
        self.several: set[str] = set()  # columns of which some row has a list
        self.large: dict[str, tuple[int, int]] = {}  # column -> integers no double holds; first row
        self.names: dict[str, None] = {}  # of all columns of a JSON list, in their order

    def count(self, what: str, number: int, first: int) -> None:
        """Say how many rows are of this kind, and which is the first."""
        self._counts[what], self._first[what] = number, first

    def note(self, what: str, row: int) -> None:
        """Count one more row of this kind."""
        self._counts[what] = self._counts.get(what, 0) + 1
        self._first.setdefault(what, row)

    def remark(self, what: str) -> None:
        """Note something about the file as a whole."""
        self._remarks[what] = None

    def add(self, other: Oddities) -> None:
        """Add what another reading of the file noted."""
        self._remarks |= other._remarks
        for what, number in other._counts.items():
            self._counts[what] = self._counts.get(what, 0) + number
            self._first.setdefault(what, other._first[what])

    def sentences(self) -> tuple[str, ...]:
        """One line per kind, for people."""
        return *self._remarks, *(
            f"{what}: {number} {'row' if number == 1 else 'rows'}, the first is {self._first[what]}"
            for what, number in self._counts.items()
        )


@dataclass(frozen=True)
class Source:
    """One file of a URL list, on this machine."""

    name: str  # as the dataset records it: its base name, or its path below the folder given
    path: Path
    kind: str  # a format's name
    reading: Reading = Reading()
    partitions: Mapping[str, str | None] = field(default_factory=dict)  # of a hive folder
    copied: Literal["", "typed", "texts", "objects"] = ""
    """What a copy contains: columns with types, columns of text, JSON objects; "": no copy."""
    oddities: Oddities = field(default_factory=Oddities, compare=False)
    places: Literal["line", "row"] = "row"
    """What messages count its rows in."""


def listed(names: Sequence[str]) -> str:
    """The columns' names for a message, bounded in number and length."""
    shown = [name if len(name) <= 60 else f"{name[:60]}…" for name in names[:30]]
    more = f" and {len(names) - 30} more" if len(names) > 30 else ""
    return (", ".join(shown) or "none") + more


def broken(source: Source, error: Exception | str) -> UserError:
    """The error for a list that cannot be read to its end."""
    lines = str(error).replace(str(source.path), source.name).splitlines()
    kept = []
    for line in lines:
        if line.startswith(("Possible", "This can happen", "*", "  ")):
            break
        kept.append(line.strip())
    why = " ".join(kept)[:300]
    return UserError(f"{source.name}: the URL list is broken ({why}); repair or export it again")


def bad_row(source: Source, row: int, why: str, cure: str = "") -> UserError:
    """The error for an unreadable row, if such rows are not kept."""
    place = f"{source.places.capitalize()}: {row}"
    cure = cure or "repair it, or keep such rows as failed rows: --set download.bad_rows=keep"
    return UserError(f"{source.name}: the URL list is broken ({place}, {why}); {cure}")


def kept_row(source: Source, row: int, why: str, cure: str = "") -> None:
    """Note an unreadable row that is kept without a URL. Raises `UserError` unless they are
    kept.
    """
    if source.reading.bad_rows != "keep":
        raise bad_row(source, row, why, cure)
    source.oddities.note("not readable, kept without a URL", row)


def batched(rows: Iterator[tuple[int, int, Any]], most_rows: int, most: int) -> Iterator[list[Any]]:
    """Lists of (row, value) from (row, size, value): bounded in number and in total size."""
    batch: list[Any] = []
    total = 0
    for row, size, value in rows:
        batch.append((row, value))
        total += size
        if len(batch) == most_rows or total > most:
            yield batch
            batch, total = [], 0
    if batch:
        yield batch
