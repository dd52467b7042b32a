"""Parquet files of a folder as one relation, whatever their columns and types differ in.

Reads the footers of a dataset's files, writes nothing. Files of one schema are read by one
`read_parquet`; where there are several schemas, each group is brought to the type that promote.py
gives for the folder. Cost: one footer per file when it is opened.
"""

from __future__ import annotations

import array
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import Damaged
from frenchcat.curate.promote import folded, selected, unified

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

Names = Callable[[Sequence[str]], Sequence[str]]
"""From the columns of a file to what they are called."""
_SCHEMA = "name, type, type_length, num_children, converted_type, scale, precision, logical_type"


@dataclass(frozen=True)
class _Group:
    """Files of one schema."""

    paths: tuple[str, ...]
    columns: dict[str, tuple[str, pa.DataType]]  # folded name -> DuckDB's name, type
    schema: pa.Schema  # by the names they are called by


class ParquetFiles:
    """The parquet files of one folder, opened."""

    def __init__(
        self,
        duck: DuckDBPyConnection,
        dataset: Dataset,
        relatives: Iterable[str],
        names: Names = lambda names: names,
    ) -> None:
        """Read the footers. Raises `Damaged` for a file that is no parquet."""
        self._dataset = dataset
        paths = [dataset.path(relative) for relative in relatives]
        self._groups = [_group(duck, same, names) for same in _alike(duck, paths)]
        self.schema = unified(group.schema for group in self._groups)
        taken = {name for group in self._groups for name in group.columns}
        self._file = free("frenchcat_file", taken)

    def sql(self, shard: str | None = None, relative: str | None = None) -> str:
        """SELECT of all rows, or of those of one file, with the columns of `schema`.

        `shard` names one more column: the file's name without its ending.
        """
        only = None if relative is None else self._dataset.path(relative)
        parts = []
        for group in self._groups:
            paths = group.paths if only is None else tuple({only} & set(group.paths))
            if not paths:
                continue
            listed = ", ".join(map(literal, paths))
            chosen = selected(group.columns, self.schema)
            if shard is not None:
                chosen += rf", regexp_extract({self._file}, '([^/]+)\.parquet$', 1) AS {shard}"
            parts.append(
                f"SELECT {chosen} FROM read_parquet([{listed}], filename = '{self._file}')"
            )
        return " UNION ALL ".join(parts)

    def has(self, relative: str) -> bool:
        """Whether this file is among them."""
        path = self._dataset.path(relative)
        return any(path in group.paths for group in self._groups)

    def columns_of(self, relative: str) -> set[str]:
        """The folded names of one file's columns."""
        path = self._dataset.path(relative)
        return {name for group in self._groups if path in group.paths for name in group.columns}


def text_array(texts: Iterable[str]) -> pa.Array:
    """Texts as an Arrow array, without pandas: `pyarrow.array` imports it, most of a second."""
    import pyarrow as pa

    encoded = [text.encode() for text in texts]
    ends = itertools.accumulate(map(len, encoded), initial=0)
    buffers = (pa.py_buffer(array.array("i", ends)), pa.py_buffer(b"".join(encoded)))
    return pa.StringArray.from_buffers(len(encoded), *buffers)


def free(name: str, taken: Iterable[str]) -> str:
    """A name that none of these has, in any case."""
    folded_names = {folded(other) for other in taken}
    while folded(name) in folded_names:
        name += "_"
    return name


def literal(text: str) -> str:
    """A text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def _alike(duck: DuckDBPyConnection, paths: Sequence[str]) -> list[list[str]]:
    """The paths, in their order, those of one schema together."""
    import duckdb

    if len(paths) < 2:
        return [list(paths)] if paths else []
    listed = ", ".join(map(literal, paths))
    told = f"string_agg(concat_ws('|', {_SCHEMA}), chr(10) ORDER BY column_id)"
    sql = f"SELECT file_name, md5({told}) FROM parquet_schema([{listed}]) GROUP BY file_name"
    try:
        found = duck.execute(sql).fetchall()
    except duckdb.Error as error:
        raise _damaged(error) from None
    # By their last part: an object store's addresses come back in another spelling.
    schema_of = {path.rsplit("/", 1)[-1]: schema for path, schema in found}
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(schema_of[path.rsplit("/", 1)[-1]], []).append(path)
    return list(groups.values())


def _group(duck: DuckDBPyConnection, paths: list[str], names: Names) -> _Group:
    import duckdb
    import pyarrow as pa

    first = literal(paths[0])
    try:
        schema = duck.sql(f"SELECT * FROM read_parquet([{first}]) LIMIT 0").to_arrow_table().schema
        # DuckDB tells apart names that differ in case alone; here is what the file has.
        sql = f"SELECT name, num_children FROM parquet_schema([{first}]) ORDER BY column_id"
        written = _top_level(duck.execute(sql).fetchall())
    except duckdb.Error as error:
        raise _damaged(error) from None
    named = [name or field.name for name, field in zip(written, schema, strict=True)]
    pairs = list(zip(names(named), schema, strict=True))
    columns = {folded(name): (field.name, field.type) for name, field in pairs}
    return _Group(tuple(paths), columns, pa.schema([(name, field.type) for name, field in pairs]))


def _top_level(elements: Sequence[tuple[str, int | None]]) -> list[str]:
    """The columns' names, of a schema's elements in their order, the root first."""
    names, inside = [], 0  # elements to come that lie within a column
    for name, children in elements[1:]:
        if inside:
            inside -= 1
        else:
            names.append(name)
        inside += children or 0
    return names


def _damaged(error: Exception) -> Damaged:
    return Damaged(f"{str(error).splitlines()[0]}; restore that file, or make it anew")
