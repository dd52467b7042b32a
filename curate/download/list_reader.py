"""How DuckDB reads a file of a list: its columns, their types, and the SQL for its rows.

Reads list files, writes nothing. A csv column becomes BIGINT, DOUBLE or BOOLEAN only if no value of
the whole file would lose a significant character.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from frenchcat.curate.download.list_source import ROW, SOURCE, Source, broken
from frenchcat.curate.sql_text import literal, quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_HERE = "[:files:]"


def here(sql: str, sources: Sequence[Source]) -> str:
    """A table's SQL over these files."""
    return sql.replace(_HERE, "[" + ", ".join(literal(str(one.path)) for one in sources) + "]")


def reader(
    source: Source, sample: int = -1, columns: tuple[tuple[str, str], ...] | None = None
) -> str:
    """A DuckDB table function over the files, which `_here` puts in."""
    if source.copied != "objects":
        # We read folders like lang=en ourselves, in the same way for every format.
        return f"read_parquet({_HERE}, filename='{SOURCE}', hive_partitioning=false)"
    options = f"format='newline_delimited', compression='none', filename='{SOURCE}'"
    options += ", hive_partitioning=false"
    if columns is not None:
        kinds = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in columns)
        return f"read_json({_HERE}, {options}, columns={{{kinds}, {ROW}: 'BIGINT'}})"
    # Every row counts for the types, and a field of few rows is a column, too.
    options += f", sample_size={sample}, map_inference_threshold=-1, maximum_depth=-1"
    return f"read_json({_HERE}, {options}, field_appearance_threshold=0)"


def describe(
    connection: DuckDBPyConnection, source: Source, sql: str
) -> tuple[tuple[str, str], ...]:
    """A file's columns with their types, except those that we add."""
    import duckdb

    try:
        relation = connection.sql(f"SELECT * FROM {here(sql, [source])}")
        columns = tuple(zip(relation.columns, (str(kind) for kind in relation.types), strict=True))
    except (duckdb.Error, RuntimeError, UnicodeDecodeError) as error:  # of a damaged file
        if source.copied != "objects" or "Duplicate name" not in str(error):
            raise broken(source, error) from None
        # Names inside an object that differ only in case: no DuckDB type can represent them.
        return tuple((name, "VARCHAR") for name in source.oddities.names)
    return tuple(column for column in columns if column[0] not in (SOURCE, ROW))


def typed_csv(
    connection: DuckDBPyConnection, source: Source, names: Sequence[str], keep: set[str | None]
) -> tuple[str, tuple[tuple[str, str], ...]]:
    """A csv read as text, then cast if the whole column allows it: its SQL, its columns."""
    import duckdb

    plain = reader(source)
    files = here(plain, [source])
    tests = [test for name in names for test in _tests(quoted(name))]
    try:
        (row,) = connection.sql(f"SELECT {', '.join(tests)} FROM {files}").fetchall()
    except (duckdb.Error, RuntimeError, UnicodeDecodeError) as error:  # of a damaged file
        raise broken(source, error) from None
    columns = []
    for number, name in enumerate(names):
        fits = dict(zip(_TYPES, row[number * len(_TYPES) :], strict=False))
        kind = "VARCHAR"
        if name not in keep:
            kind = next((kind for kind in _TYPES if fits[kind]), "VARCHAR")
        columns.append((name, kind))
    casts = ", ".join(f"{quoted(name)}::{kind} AS {quoted(name)}" for name, kind in columns)
    return f"(SELECT {casts}, {ROW}, {SOURCE} FROM {plain})", tuple(columns)


_TYPES = ("BIGINT", "DOUBLE", "BOOLEAN")


def _tests(column: str) -> list[str]:
    """Whether all values of a text column fit a type without loss; NULL if it has no values."""
    number = r"'[+-]?([0-9]{1,15}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?'"
    return [
        f"bool_and(TRY_CAST({column} AS BIGINT)::VARCHAR IS NOT DISTINCT FROM {column})"
        f" AND count({column}) > 0",
        f"bool_and({column} IS NULL OR regexp_full_match({column}, {number})"
        f" AND NOT regexp_matches({column}, '^[+-]?0[0-9]')) AND count({column}) > 0",
        f"bool_and({column} IS NULL OR lower({column}) IN ('true', 'false'))"
        f" AND count({column}) > 0",
    ]
