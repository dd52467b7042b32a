"""What a list's values lose by the type of their column: named and counted, since it is not seen.

Reads the types of a file and, where a column of whole numbers becomes one of fractions, its values.
Notes it in the file's oddities, which freezing prints and records. Cost: nothing but a parquet's
footer, unless types differ; then one pass over the column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from frenchcat.curate.download.list_reader import here
from frenchcat.curate.download.list_source import ROW, Source
from frenchcat.curate.errors import UserError
from frenchcat.curate.promote import (
    NANOSECONDS,
    beyond_nanoseconds,
    digits_lost,
    folded,
    promoted,
)
from frenchcat.curate.sql_text import literal, quoted

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

    from frenchcat.curate.download.columns import Table

_BEYOND = "whole numbers of the column {!r} that lose digits beside fractions"
_DIGITS = "decimals of the column {!r} that lose digits beside fractions"


def note_types(source: Source) -> None:
    """Note the columns of a parquet that DuckDB reads as plain numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if source.kind != "parquet" or source.copied:
        return
    try:
        schema = pq.read_schema(source.path)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return  # whoever reads it says what is wrong with it
    for field in schema:
        for kind in _parts(field.type):
            if pa.types.is_duration(kind):
                source.oddities.remark(
                    f"the durations of the column {field.name!r} are kept as whole numbers, "
                    f"in {kind.unit}"
                )
            if pa.types.is_decimal(kind) and kind.precision > 38:
                source.oddities.remark(
                    f"the column {field.name!r} has decimals of {kind.precision} digits, of which "
                    "the first 15 to 17 are kept; export it as text to keep all"
                )


def note_large_numbers(source: Source, columns: Iterable[tuple[str, str]]) -> None:
    """Note the columns of a JSON list that have fractions and whole numbers beyond 2^53."""
    for name, kind in columns:
        if kind == "DOUBLE" and (found := source.oddities.large.get(name)) is not None:
            source.oddities.count(_BEYOND.format(name), *found)


def note_casts(
    duck: DuckDBPyConnection,
    groups: Sequence[tuple[Table, Sequence[Source]]],
    types: Mapping[str, str],
) -> None:
    """Note numbers that lose digits since another file of the list has fractions there.

    Raises `UserError` for a time that does not fit the nanoseconds of another file.
    """
    for table, alike in groups:
        place = ROW if table.source.copied else "file_row_number + 1"
        for name, new in table.extras():
            kind, wanted = table.type_of(name), types[new.lower()]
            if kind != wanted and wanted in ("TIMESTAMP_NS", "TIMESTAMPTZ_NS"):
                for source in alike:
                    _refuse_beyond(duck, here(table.sql, [source]), source, name, place)
            if wanted != "DOUBLE" or (back := _back_sql(kind)) is None:
                continue
            what = _DIGITS if kind.startswith("DECIMAL") else _BEYOND
            for source in alike:
                number, first = duck.sql(
                    f"SELECT count(*), min({place}) FROM {here(table.sql, [source])} "
                    f"WHERE {back.format(quoted(name))} <> {quoted(name)}"
                ).fetchall()[0]
                if number:
                    source.oddities.count(what.format(name), number, first)


def _back_sql(kind: str) -> str | None:
    """SQL of a number that was a DOUBLE in between; None for types of which none loses digits."""
    if kind in ("BIGINT", "UBIGINT"):
        return "{}::DOUBLE::HUGEINT"
    return f"{{}}::DOUBLE::VARCHAR::{kind}" if kind.startswith("DECIMAL") else None


def _refuse_beyond(
    duck: DuckDBPyConnection, files: str, source: Source, name: str, place: str
) -> None:
    """Raise `UserError` for the first time of a column that nanoseconds cannot hold."""
    first, last = (literal(f"{end}") for end in NANOSECONDS)
    found = duck.sql(
        f"SELECT {place} AS place, {quoted(name)}::VARCHAR FROM {files} WHERE "
        f"{quoted(name)}::TIMESTAMP NOT BETWEEN {first} AND {last} ORDER BY place LIMIT 1"
    ).fetchall()
    for row, value in found:
        raise UserError(
            f"{source.name}: {source.places} {row}: {value} in the column {name!r} does not fit "
            "the nanoseconds that another file of the list has there; export that file's column "
            "in microseconds"
        )


class AdditionLosses:
    """Numbers that lose digits since a list and what the dataset has differ in a column's type."""

    def __init__(
        self, known: Mapping[str, pa.DataType], stored: Callable[[str], Iterator[pa.ChunkedArray]]
    ) -> None:
        """`known` are the dataset's types by folded name; `stored` reads a column of its shards."""
        self._known, self._stored = known, stored
        self._lost: Counter[str] = Counter()
        self._seen: set[str] = set()

    def add(self, table: pa.Table) -> None:
        """Count what new rows lose; of each column once what the stored rows lose.

        Raises `UserError` for a time that does not fit nanoseconds beside it.
        """
        for field in table.schema:
            kind = self._known.get(folded(field.name))
            if kind is None or kind.equals(field.type):
                continue
            wanted = promoted(kind, field.type)
            self._lost[field.name] += _lost_by(field.name, table[field.name], wanted)
            if field.name not in self._seen:
                self._seen.add(field.name)
                for values in self._stored(field.name) if not kind.equals(wanted) else ():
                    self._lost[field.name] += _lost_by(field.name, values, wanted)

    def note(self, source: Source) -> None:
        """Put the counts among the oddities of a file."""
        for name, number in self._lost.items():
            if number:
                source.oddities.remark(
                    f"numbers of the column {name!r}, here and in rows that the dataset had, that "
                    f"lose digits beside fractions: {number}"
                )


def _lost_by(name: str, values: pa.ChunkedArray, wanted: pa.DataType) -> int:
    if (value := beyond_nanoseconds(values, wanted)) is not None:
        raise UserError(
            f"{value} in the column {name!r} does not fit the nanoseconds of the list, or of rows "
            "that the dataset has; export the list's column as text"
        )
    return digits_lost(values, wanted)


def _parts(kind: pa.DataType) -> Iterator[pa.DataType]:
    """A type and those that it is made of."""
    yield kind
    for at in range(kind.num_fields):
        yield from _parts(kind.field(at).type)
