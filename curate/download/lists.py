"""URL lists -> frozen rows: ``lists/{shard:05d}.parquet`` with uid, url, caption, extra columns.

Freezing comes before fetching, so that a shard's rows, and with them its keys, never change
whatever becomes of the list. A list that has grown adds new shards behind the old ones, which stay
as they are: rows are told apart by uid, counted (a list may hold a row twice).

All new shards of one call are published together, or none: a list found broken at its last line
has written nothing, and a killed freeze starts over. Memory is that of a few batches and a bounded
DuckDB buffer, whatever the length of the list; the scratch disk holds the uids of a grown list, and
the new rows until they are published. Cost: one pass over the list (two for csv and JSON, whose
types have to be found), two for a grown one.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset, Publication, file_sha256
from frenchcat.curate.download import columns as cols
from frenchcat.curate.download.sources import (
    Lists,
    Source,
    as_table,
    base_name,
    broken,
    fetch,
    find,
)
from frenchcat.curate.errors import UserError
from frenchcat.curate.manifest import GivenList, ListFile, StageEntry
from frenchcat.curate.markers import Signature, counts_of, record_entry, write_marker
from frenchcat.curate.promote import as_schema, folded, promoted, unified
from frenchcat.curate.removals import removed, without_removed

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

STAGE = "lists"
SIGNATURE = Signature(STAGE, 1, {})
MAX_SHARDS = 100_000  # five digits, as img2dataset names them
_BUFFER = "512MB"
_BATCH_ROWS = 10_000


@dataclass(frozen=True)
class Shape:
    """How a list is read: its columns, None to find them, and the size of a shard."""

    url_column: str | None = None
    caption_column: str | None = None
    samples_per_shard: int = 1000


def relative(shard: str) -> str:
    """Where a shard's frozen rows lie in the dataset."""
    return files.LIST.of(shard)


def shards(dataset: Dataset) -> list[str]:
    """The ids of all shards whose rows are frozen."""
    return dataset.shards(STAGE)


def check(lists: Lists, shape: Shape) -> None:
    """Raise `UserError` where a list is missing, of no known kind, empty or without a URL column.

    Reads the beginning of each file; remote ones are only looked up.
    """
    import tempfile

    addresses = find(lists)
    any_rows = False
    with tempfile.TemporaryDirectory(prefix="frenchcat-") as folder, _duckdb(Path(folder)) as duck:
        for number, address in enumerate(addresses):
            if "://" in address.removeprefix("file://"):
                any_rows = True
                continue
            given = fetch(address, Path(folder), number)
            source = as_table(given, Path(folder), number, most=1)
            if not cols.has_rows(duck, source):
                continue
            any_rows = True
            names = cols.names_of(duck, source)
            cols.pick(source, names, shape.url_column, shape.caption_column)
    if not any_rows:
        raise _no_rows(base_name(address) for address in addresses)


def _no_rows(names: Iterable[str]) -> UserError:
    return UserError(f"{', '.join(names)}: the URL list has no rows; check how it was written")


def freeze(dataset: Dataset, lists: Lists, shape: Shape) -> list[str]:
    """Freeze the rows of a list that the dataset does not have; gives all its shards.

    The dataset's lock is held. Raises `UserError` for a list that is missing, broken, empty, of no
    known kind or without a URL column; nothing is written then.
    """
    addresses = find(lists)
    with dataset.scratch(STAGE) as folder:
        sources = [fetch(address, folder, number) for number, address in enumerate(addresses)]
        given = _given(sources, shape)
        if not _known(dataset, given):
            tables = [as_table(source, folder, number) for number, source in enumerate(sources)]
            rows = _freeze(dataset, tables, shape, folder)
            _record(dataset, given, rows)
    return dataset.shards(STAGE)


# -- what was given ------------------------------------------------------------------------------


def _given(sources: list[Source], shape: Shape) -> GivenList:
    """What was given; the files' rows are not counted yet."""
    files = (ListFile(source.name, file_sha256(source.path), rows=0) for source in sources)
    return GivenList(shape.url_column, shape.caption_column, tuple(files))


def _known(dataset: Dataset, given: GivenList) -> bool:
    """Whether this very list was frozen before: then every row of it is in the dataset."""
    before = dataset.manifest().entry(STAGE).given or ()
    return any(_identity(given) == _identity(one) for one in before)


def _identity(given: GivenList) -> tuple[Any, ...]:
    return given.url_column, given.caption_column, sorted(file.sha256 for file in given.files)


def _record(dataset: Dataset, given: GivenList, rows: list[int]) -> None:
    counted = zip(given.files, rows, strict=True)
    files = tuple(replace(file, rows=number) for file, number in counted)
    before = dataset.manifest().entry(STAGE).given or ()
    shards = dataset.shards(STAGE)
    total = sum(counts_of(dataset, STAGE, shard)["rows"] for shard in shards)
    entry = StageEntry(
        version=SIGNATURE.version,
        shards=len(shards),
        counts={"rows": total},
        given=(*before, replace(given, files=files)),
    )
    record_entry(dataset, STAGE, entry)


# -- reading -------------------------------------------------------------------------------------


@contextlib.contextmanager
def _duckdb(folder: Path) -> Iterator[DuckDBPyConnection]:
    import duckdb

    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": _BUFFER,
        "temp_directory": str(folder / "spill"),
        "threads": str(min(4, os.cpu_count() or 1)),
        "preserve_insertion_order": "true",
        "autoload_known_extensions": "false",
        "autoinstall_known_extensions": "false",
    }
    connection = duckdb.connect(str(folder / "rows.duckdb"), config=config)
    connection.execute("SET TimeZone = 'UTC'")  # the same list gives the same bytes everywhere
    try:
        yield connection
    finally:
        connection.close()


def _view(duck: DuckDBPyConnection, sources: list[Source], shape: Shape) -> None:
    """The view `listed`: every row of every file, in order; files of one schema are read as one."""
    groups: list[tuple[cols.Table, str, str | None, list[Source]]] = []
    if not (filled := [source for source in sources if cols.has_rows(duck, source)]):
        raise _no_rows(source.name for source in sources)
    for source in filled:
        table, url, caption = cols.open_table(duck, source, shape.url_column, shape.caption_column)
        if groups and not source.format.text:
            last = groups[-1]
            if last[0].source.kind == source.kind and last[0].columns == table.columns:
                last[3].append(source)
                continue
        groups.append((table, url, caption, [source]))
    selects = [cols.selection(*group) for group in groups]
    duck.execute("CREATE VIEW listed AS " + " UNION ALL BY NAME ".join(selects))


def _freeze(dataset: Dataset, sources: list[Source], shape: Shape, folder: Path) -> list[int]:
    """Publish the new rows; gives the number of rows of each source."""
    counts: Counter[str] = Counter()
    with _duckdb(folder) as duck, dataset.publish(STAGE) as publication:
        with _blaming(sources):
            _view(duck, sources, shape)
            positions = _fresh(dataset, duck) if dataset.shards(STAGE) else None
        batches = _batches(duck, counts, sources)
        if positions is not None:
            batches = _masked(batches, positions)
        if gone := removed(dataset):
            batches = (without_removed(batch, gone) for batch in batches)
        batches = of_the_datasets_types(dataset, batches)
        _write(publication, dataset, batches, shape.samples_per_shard)
    return [counts[str(source.path)] for source in sources]


@contextlib.contextmanager
def _blaming(sources: list[Source]) -> Iterator[None]:
    """An error of the reader becomes one about the file that it names."""
    import duckdb
    import pyarrow as pa

    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        named = [source for source in sources if str(source.path) in str(error)]
        if not named:
            raise
        raise broken(named[0], error) from None


def _batches(
    duck: DuckDBPyConnection, counts: Counter[str], sources: list[Source]
) -> Iterator[pa.Table]:
    """The rows of the list in order, streamed; `counts` learns how many each file has."""
    import pyarrow as pa

    # `sql(…)` streams, where `execute(…)` would hold the whole result.
    with _blaming(sources):
        reader = duck.sql("SELECT * FROM listed").to_arrow_reader(_BATCH_ROWS)
    while True:
        with _blaming(sources):
            batch = next(reader, None)
        if batch is None:
            return
        table = pa.Table.from_batches([batch])
        for found in table[cols.SOURCE].value_counts().to_pylist():
            counts[found["values"]] += found["counts"]
        yield table.drop_columns([cols.SOURCE])


def _fresh(dataset: Dataset, duck: DuckDBPyConnection) -> Iterator[Any]:
    """The positions (from 1, ascending, in numpy arrays) of rows that the dataset does not have.

    A row that the dataset holds n times is new from its occurrence n + 1 on. DuckDB spills to the
    scratch folder what does not fit its buffer.
    """
    import pyarrow.parquet as pq

    duck.execute("CREATE TABLE had (uid VARCHAR)")
    for shard in dataset.shards(STAGE):
        with dataset.as_local(relative(shard)) as path:
            duck.register("present", pq.read_table(path, columns=["uid"]))
            duck.execute("INSERT INTO had SELECT uid FROM present")
            duck.unregister("present")
    duck.execute(
        "CREATE TABLE fresh AS SELECT place FROM ("
        "  SELECT place, uid, row_number() OVER (PARTITION BY uid ORDER BY place) AS nth"
        "  FROM (SELECT row_number() OVER () AS place, uid FROM listed)"
        ") LEFT JOIN (SELECT uid, count(*) AS copies FROM had GROUP BY uid) USING (uid) "
        "WHERE nth > coalesce(copies, 0)"
    )
    # A cursor of its own: the rows stream from the connection meanwhile.
    reader = (
        duck.cursor().sql("SELECT place FROM fresh ORDER BY place").to_arrow_reader(_BATCH_ROWS)
    )
    return (batch.column("place").to_numpy() for batch in reader)


def _masked(batches: Iterator[pa.Table], positions: Iterator[Any]) -> Iterator[pa.Table]:
    """The rows of the batches whose position, counted from 1, is among the ascending positions."""
    import numpy as np

    known = np.empty(0, np.int64)
    more, start = True, 1
    for batch in batches:
        end = start + batch.num_rows
        while more and (known.size == 0 or known[-1] < end):
            got = next(positions, None)
            more = got is not None
            known = np.concatenate([known, got]) if got is not None else known
        split = np.searchsorted(known, end)
        yield batch.take(known[:split] - start)
        known, start = known[split:], end


# -- types ---------------------------------------------------------------------------------------


def of_the_datasets_types(dataset: Dataset, batches: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """New rows with each column of the type that it has in the dataset with them (promote.py)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    there = []
    for shard in dataset.shards(STAGE):
        with dataset.as_local(relative(shard)) as path:
            there.append(pq.read_schema(path))
    known = {folded(field.name): field.type for field in unified(there)}
    for batch in batches:
        fields = [
            (f.name, promoted(known[folded(f.name)], f.type) if folded(f.name) in known else f.type)
            for f in batch.schema
        ]
        yield as_schema(batch, pa.schema(fields))


# -- writing -------------------------------------------------------------------------------------


def _write(
    publication: Publication, dataset: Dataset, batches: Iterator[pa.Table], per_shard: int
) -> None:
    """Cut the rows into shards behind those that are there."""
    import pyarrow as pa

    number = max((int(shard) + 1 for shard in dataset.shards(STAGE)), default=0)
    held: list[pa.Table] = []
    rows = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        while rows >= per_shard:
            table = pa.concat_tables(held)
            _write_shard(publication, number, table.slice(0, per_shard))
            held, rows, number = [table.slice(per_shard)], rows - per_shard, number + 1
    if rows:
        _write_shard(publication, number, pa.concat_tables(held))


def _write_shard(publication: Publication, number: int, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    if number >= MAX_SHARDS:
        raise UserError(
            f"the list needs more than {MAX_SHARDS} shards; raise download.samples_per_shard "
            "(up to 10000) or split it over several datasets"
        )
    shard = f"{number:05d}"
    path = publication.path(relative(shard))
    pq.write_table(table.combine_chunks(), path, compression="zstd")
    counts = {"rows": table.num_rows}
    write_marker(publication, SIGNATURE, shard, {}, counts, outputs=[relative(shard)])
