"""Parquet files of a folder as one relation, whatever their columns and types differ in.

Reads the footers of a dataset's files, writes nothing. Files of one schema are read by one
`read_parquet`; where there are several schemas, each group is brought to the type that promote.py
gives for the folder. Cost: one footer per file when it is opened.
"""

from __future__ import annotations

import array
import itertools
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import Damaged, first_line
from frenchcat.curate.promote import folded, selected, unified
from frenchcat.curate.sql_text import exactly, literal

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

Names = Callable[[Sequence[str]], Sequence[str]]
"""From the columns of a file to what they are called."""
_REMOTE_READS = 16
_PLAIN = "hive_partitioning = false"  # a folder called `license=mine` is not a column of its rows


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
        """Read the footers. Raises `Damaged` for a file that is not parquet."""
        self._dataset = dataset
        paths = [dataset.path(relative) for relative in relatives]
        alike: dict[pa.Schema, list[str]] = {}
        for path, schema in zip(paths, _schemas(dataset, paths), strict=True):
            alike.setdefault(schema, []).append(path)
        self._groups = [_group(duck, same, schema, names) for schema, same in alike.items()]
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
            listed = ", ".join(literal(exactly(path)) for path in paths)
            chosen = selected(group.columns, self.schema)
            if shard is not None:
                chosen += rf", regexp_extract({self._file}, '([^/]+)\.parquet$', 1) AS {shard}"
            parts.append(
                f"SELECT {chosen} FROM "
                f"read_parquet([{listed}], filename = '{self._file}', {_PLAIN})"
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


def _group(duck: DuckDBPyConnection, paths: list[str], schema: pa.Schema, names: Names) -> _Group:
    import pyarrow as pa

    own = _names_in_duckdb(duck, paths[0], schema.names)
    called = names(schema.names)
    columns = {
        folded(name): (there, kind)
        for name, there, kind in zip(called, own, schema.types, strict=True)
    }
    return _Group(tuple(paths), columns, pa.schema(list(zip(called, schema.types, strict=True))))


def read_parquet(path: str | Path, columns: Sequence[str] | None = None) -> pa.Table:
    """A parquet file's rows, or these columns of them.

    What `pyarrow.parquet.read_table` gives of one file, without what that imports: pandas and
    pyarrow's datasets, most of a second.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read(columns)


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


def _schemas(dataset: Dataset, paths: Sequence[str]) -> list[pa.Schema]:
    """What each file's footer says, without metadata. Raises `Damaged`."""
    if dataset.local:
        return [_schema(dataset, path) for path in paths]
    with ThreadPoolExecutor(_REMOTE_READS) as pool:  # each waits for a store's answers
        return list(pool.map(partial(_schema, dataset), paths))


def _schema(dataset: Dataset, path: str) -> pa.Schema:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path, filesystem=None if dataset.local else dataset.fs)
    except (pa.ArrowException, OSError) as error:
        raise Damaged(
            f"{path} is not a readable parquet file ({first_line(error)}); "
            "restore that file, or make it again"
        ) from None
    return pa.schema([pa.field(field.name, field.type) for field in schema])


def _names_in_duckdb(duck: DuckDBPyConnection, path: str, names: Sequence[str]) -> Sequence[str]:
    """What DuckDB calls a file's columns: it tells apart names that differ in case alone."""
    if len(set(map(folded, names))) == len(names):
        return names
    file = literal(exactly(path))
    return duck.sql(f"SELECT * FROM read_parquet([{file}], {_PLAIN}) LIMIT 0").columns
