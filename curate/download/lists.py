"""URL lists -> frozen rows: ``lists/{shard:05d}.parquet`` with uid, url, caption, extra columns.

Freezing comes before fetching, so that a shard's rows, and with them its keys, never change
whatever happens to the list. A list that has grown adds new shards after the old ones, which stay
as they are: rows are distinguished by uid, counted (a list may contain a row twice). All new shards
of one call are published together, or none: a list that is broken at its last line has written
nothing, and an interrupted freeze starts over.

Memory is that of a few batches and a bounded DuckDB buffer, whatever the length of the list; the
scratch disk holds the uids of a grown list, and the new rows until they are published. Cost: one
pass over the list (two for csv and JSON, whose types must be found), two for a grown one. Images
inside a list are frozen with it.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset, Publication, file_sha256
from frenchcat.curate.download import columns as cols
from frenchcat.curate.download.list_errors import NotText, blaming, some
from frenchcat.curate.download.list_source import SOURCE, Reading, Source
from frenchcat.curate.download.losses import AdditionLosses, note_casts
from frenchcat.curate.download.sources import Lists, as_table, as_text, fetch, find
from frenchcat.curate.errors import UserError
from frenchcat.curate.manifest import GivenList, ListFile, StageEntry
from frenchcat.curate.markers import Signature, counts_of, record_entry, write_marker
from frenchcat.curate.notices import notice
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.promote import as_schema, folded, promoted, unified
from frenchcat.curate.removals import removed, without_removed

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

STAGE = "lists"
SIGNATURE = Signature(STAGE, 1, {})
MAX_SHARDS = 100_000  # five digits, as in img2dataset
_BUFFER = "512MB"
_BATCH_ROWS = 10_000
_BUFFER_OF_IMAGES = "2GB"  # DuckDB's, where the images themselves are in the list
_IMAGE_ROWS = 64  # at one time, of those


@dataclass(frozen=True)
class Shape(Reading):
    """How a list is read, and the size of a shard."""

    samples_per_shard: int = 1000


def relative(shard: str) -> str:
    """The path of a shard's frozen rows in the dataset."""
    return files.LIST.of(shard)


def shards(dataset: Dataset) -> list[str]:
    """The ids of all shards whose rows are frozen."""
    return dataset.shards(STAGE)


def check(lists: Lists, shape: Shape) -> None:
    """Raise `UserError` if a list is missing, of unknown format, empty or without a URL column.

    Reads the beginning of each file; remote ones are only looked up.
    """
    import tempfile

    found = find(lists).found
    any_rows = False
    with tempfile.TemporaryDirectory(prefix="frenchcat-") as folder, _duckdb(Path(folder)) as duck:
        for number, one in enumerate(found):
            if "://" in one.address.removeprefix("file://"):
                any_rows = True
                continue
            given = fetch(one, Path(folder), number, shape)
            source = as_table(given, Path(folder), number, most=1)
            if cols.has_rows(duck, source):
                any_rows = True
                cols.check_columns(duck, source)
    if not any_rows:
        raise _no_rows(one.name for one in found)


def _no_rows(names: Iterable[str]) -> UserError:
    return UserError(f"{', '.join(names)}: the URL list has no rows; check how it was written")


def freeze(dataset: Dataset, lists: Lists, shape: Shape) -> list[str]:
    """Freeze the rows of a list that the dataset does not have; returns all its shards.

    The dataset's lock is held. Raises `UserError` for a list that is missing, broken, empty, of
    unknown format or without a URL column; nothing is written then.
    """
    search = find(lists)
    with dataset.scratch(STAGE) as folder:
        sources = [fetch(one, folder, number, shape) for number, one in enumerate(search.found)]
        given = _given(sources, shape)
        if not _known(dataset, given):
            if search.left_out:
                notice(f"{some(search.left_out)}: not a URL list by name and beginning, left out")
            tables = [as_table(source, folder, number) for number, source in enumerate(sources)]
            while True:
                try:
                    rows = _freeze(dataset, tables, shape, folder)
                    break
                except NotText as error:
                    place = tables.index(error.source)
                    tables[place] = as_text(error.source, folder, place)
            _record(dataset, given, tables, rows)
    return dataset.shards(STAGE)


# -- what was given ------------------------------------------------------------------------------


def _given(sources: list[Source], shape: Shape) -> GivenList:
    """The files that were given; their rows are not counted yet."""
    files = (ListFile(source.name, file_sha256(source.path), rows=0) for source in sources)
    return GivenList(shape.url_column, shape.caption_column, tuple(files), shape.as_json() or None)


def _known(dataset: Dataset, given: GivenList) -> bool:
    """Whether this very list was frozen before: then every row of it is in the dataset."""
    before = dataset.manifest().entry(STAGE).given or ()
    return any(_identity(given) == _identity(one) for one in before)


def _identity(given: GivenList) -> tuple[Any, ...]:
    files = sorted(file.sha256 for file in given.files)
    return given.url_column, given.caption_column, files, sorted((given.reading or {}).items())


def _record(dataset: Dataset, given: GivenList, sources: list[Source], rows: list[int]) -> None:
    """Record the files in dataset.json; report and record what was odd about them."""
    counted = []
    for file, source, number in zip(given.files, sources, rows, strict=True):
        notes = source.oddities.sentences()
        for note in notes:
            notice(f"{source.name}: {note}")
        counted.append(replace(file, rows=number, notes=notes or None))
    files = tuple(counted)
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


def _view(duck: DuckDBPyConnection, sources: list[Source]) -> bool:
    """The view `listed`: every row of every file, in order; files of one schema are read as one.

    Returns whether any file contains image bytes.
    """
    groups: list[tuple[cols.Table, list[Source]]] = []
    if not (filled := [source for source in sources if cols.has_rows(duck, source)]):
        raise _no_rows(source.name for source in sources)
    for source in filled:
        table = cols.open_table(duck, source)
        if groups and not source.copied:
            first, alike = groups[-1]
            same = (first.columns, first.keeps_uid) == (table.columns, table.keeps_uid)
            if first.source.kind == source.kind and same:
                alike.append(source)
                continue
        groups.append((table, [source]))
    images = any(table.image is not None for table, _ in groups)
    types = cols.types_of([table for table, _ in groups])
    note_casts(duck, groups, types)
    selects = [cols.selection(table, alike, types, images=images) for table, alike in groups]
    duck.execute("CREATE OR REPLACE VIEW listed AS " + " UNION ALL BY NAME ".join(selects))
    if images:
        duck.execute(f"SET memory_limit = '{_BUFFER_OF_IMAGES}'; SET threads = 1")
    return images


def _freeze(dataset: Dataset, sources: list[Source], shape: Shape, folder: Path) -> list[int]:
    """Publish the new rows; returns the number of rows of each source."""
    counts: Counter[str] = Counter()
    with _duckdb(folder) as duck, dataset.publish(STAGE) as publication:
        with blaming(sources):
            images = _view(duck, sources)
            positions = _fresh(dataset, duck) if dataset.shards(STAGE) else None
        batches = _batches(duck, counts, sources, _IMAGE_ROWS if images else _BATCH_ROWS)
        if positions is not None:
            batches = _masked(batches, positions)
        if gone := removed(dataset):
            batches = (without_removed(batch, gone) for batch in batches)
        batches, losses = of_the_datasets_types(dataset, batches)
        _write(publication, dataset, batches, shape.samples_per_shard)
        losses.note(sources[0])
    return [counts[str(source.path)] for source in sources]


def _batches(
    duck: DuckDBPyConnection, counts: Counter[str], sources: list[Source], rows: int
) -> Iterator[pa.Table]:
    """The rows of the list in order, streamed; `counts` receives the rows of each file."""
    import pyarrow as pa

    origin = _Origin(sources)
    # `sql(…)` streams; `execute(…)` would hold the whole result.
    with blaming(sources):
        reader = duck.sql("SELECT * FROM listed").to_arrow_reader(rows)
    while True:
        with blaming(sources):
            batch = next(reader, None)
        if batch is None:
            return
        table = pa.Table.from_batches([batch])
        for found in table[SOURCE].value_counts().to_pylist():
            counts[found["values"]] += found["counts"]
        yield origin.put_into(table)


class _Origin:
    """What a row's file says about it: which of several it is, and the partitions of its
    folders.
    """

    def __init__(self, sources: list[Source]) -> None:
        import pyarrow as pa

        self._place = {str(source.path): place for place, source in enumerate(sources)}
        # The name of a single file is in dataset.json only: its rows do not depend on it.
        names = [one.name if len(sources) > 1 else None for one in sources]
        self._values = {cols.SOURCE_FILE: pa.array(names, pa.string())}
        partitions = dict.fromkeys(name for one in sources for name in one.partitions)
        for name, new in cols.renamed(list(partitions)):
            values = [one.partitions.get(name) for one in sources]
            whole = all(v is None or (v.isdecimal() and str(int(v)) == v) for v in values)
            if whole and any(values):
                self._values[new] = pa.array([v and int(v) for v in values], pa.int64())
            else:
                self._values[new] = pa.array(values, pa.string())

    def put_into(self, table: pa.Table) -> pa.Table:
        """The table with these columns, unless it has columns of their names."""
        import pyarrow as pa

        paths = table[SOURCE].combine_chunks().dictionary_encode()
        known = pa.array([self._place[path] for path in paths.dictionary.to_pylist()], pa.int64())
        places = known.take(paths.indices)
        there = {name.lower() for name in table.column_names}
        at = table.column_names.index(cols.SOURCE_ROW)
        table = table.drop_columns([SOURCE])
        for name, values in self._values.items():
            if name.lower() not in there:
                table = table.add_column(at, name, values.take(places))
        return table


def _fresh(dataset: Dataset, duck: DuckDBPyConnection) -> Iterator[Any]:
    """The positions (from 1, ascending, in numpy arrays) of rows that the dataset does not have.

    A row that the dataset has n times is new from its occurrence n + 1 on. DuckDB spills to the
    scratch folder what does not fit its buffer.
    """
    duck.execute("CREATE OR REPLACE TABLE had (uid VARCHAR)")
    for shard in dataset.shards(STAGE):
        with dataset.as_local(relative(shard)) as path:
            duck.register("present", read_parquet(path, columns=["uid"]))
            duck.execute("INSERT INTO had SELECT uid FROM present")
            duck.unregister("present")
    duck.execute(
        "CREATE OR REPLACE TABLE fresh AS SELECT place FROM ("
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


def of_the_datasets_types(
    dataset: Dataset, batches: Iterator[pa.Table]
) -> tuple[Iterator[pa.Table], AdditionLosses]:
    """New rows, each column with the type that it has in the dataset with them (promote.py).

    What its numbers lose by that is counted while they are read.
    """
    import pyarrow.parquet as pq

    shards = dataset.shards(STAGE)
    there = []
    for shard in shards:
        with dataset.as_local(relative(shard)) as path:
            there.append(pq.read_schema(path))
    schema = unified(there)
    known = {folded(field.name): field.type for field in schema}

    def stored(name: str) -> Iterator[pa.ChunkedArray]:
        for shard, has in zip(shards, there, strict=True):
            if own := next((one for one in has.names if folded(one) == folded(name)), None):
                with dataset.as_local(relative(shard)) as path:
                    yield read_parquet(path, columns=[own])[own]

    losses = AdditionLosses(known, stored)
    return _typed(known, batches, losses), losses


def _typed(
    known: dict[str, pa.DataType], batches: Iterator[pa.Table], losses: AdditionLosses
) -> Iterator[pa.Table]:
    import pyarrow as pa

    for batch in batches:
        losses.add(batch)
        fields = [
            (f.name, promoted(known[folded(f.name)], f.type) if folded(f.name) in known else f.type)
            for f in batch.schema
        ]
        yield as_schema(batch, pa.schema(fields))


# -- writing -------------------------------------------------------------------------------------


def _write(
    publication: Publication, dataset: Dataset, batches: Iterator[pa.Table], per_shard: int
) -> None:
    """Cut the rows into shards that follow the existing ones."""
    first = max((int(shard) + 1 for shard in dataset.shards(STAGE)), default=0)
    for number, table in enumerate(in_tables_of(per_shard, batches), first):
        _write_shard(publication, number, table)


def in_tables_of(size: int, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows of tables in tables of `size` rows, the last one shorter."""
    import pyarrow as pa

    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        held.append(table)
        rows += table.num_rows
        while rows >= size:
            whole = pa.concat_tables(held)
            yield whole.slice(0, size)
            held, rows = [whole.slice(size)], rows - size
    if rows:
        yield pa.concat_tables(held)


def _write_shard(publication: Publication, number: int, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    if number >= MAX_SHARDS:
        raise UserError(
            f"the list needs more than {MAX_SHARDS} shards; raise download.samples_per_shard "
            "(up to 10000) or split it over several datasets"
        )
    shard = f"{number:05d}"
    path = publication.path(relative(shard))
    size = _IMAGE_ROWS if cols.IMAGE_BYTES in table.column_names else None
    pq.write_table(table.combine_chunks(), path, compression="zstd", row_group_size=size)
    counts = {"rows": table.num_rows}
    write_marker(publication, SIGNATURE, shard, {}, counts, outputs=[relative(shard)])
