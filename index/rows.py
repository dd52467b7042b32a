"""The indexed rows: position in the index -> key, caption, url, and the image's place in its tar.

Reads a dataset's embeddings/metadata/ and tars. Writes ``index/rows-<part>.arrow`` (Arrow IPC, one
batch per shard, uncompressed, memory-mapped by readers). A position is a row of the index files and
is internal to this package; others use `id`, a 64-bit number made from the key, and `key`. Cost:
reading one header per image when written; opening maps the file, and a hit reads its own row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files, tars
from frenchcat.curate.command_text import shell_command
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.errors import UserError
from frenchcat.curate.list_names import KEY, base_of, stored
from frenchcat.curate.markers import outputs_of
from frenchcat.curate.parquets import read_parquet
from frenchcat.curate.promote import as_schema, folded, plain, unified

if TYPE_CHECKING:
    import pyarrow as pa


def id_of(key: str) -> int:
    """A key as a 64-bit id: its number or, for other keys, 63 bits of its SHA-256."""
    if key.isascii() and key.isdigit() and len(key) <= 18:
        return int(key)
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def shard_rows(dataset: Dataset, shard: str) -> pa.Table:
    """One shard's embedded rows: PLACE, caption, url and the metadata's other columns.

    A list's own column with a name of PLACE is stored beside it, renamed as in list_names.
    """
    import pyarrow as pa

    with dataset.as_local(files.METADATA.of(shard)) as path:
        table = read_parquet(path)
    keys = table["image_path"].to_pylist()
    members = _pictures(dataset, shard, keys)
    columns = {
        "id": pa.array([id_of(key) for key in keys], pa.int64()),
        "key": pa.array(keys, pa.string()),
        "shard": pa.array([shard] * len(keys), pa.string()),
        "extension": pa.array([member.extension for member in members], pa.string()),
        "offset": pa.array([member.offset for member in members], pa.int64()),
        "size": pa.array([member.size for member in members], pa.int64()),
    }
    others = [name for name in table.column_names if name not in ("key", KEY)]
    return pa.table(columns | {stored_name(name): table[name] for name in others})


def stored_name(name: str) -> str:
    """How a column of the metadata beside vectors is called in an index's rows."""
    return name if base_of(name) == KEY else stored(name)  # already renamed in the metadata


def _pictures(dataset: Dataset, shard: str, keys: Sequence[str]) -> list[tars.Member]:
    """The places of keys' images; of size 0 in an adopted shard that never had a tar."""
    relative = files.TAR.of(shard)
    if relative not in outputs_of(dataset, "download", shard) and not dataset.exists(relative):
        return [tars.Member(key, "", 0, 0) for key in keys]
    with dataset.as_local(relative) as path:
        pictures = tars.image_members(path)
    if missing := next((key for key in keys if key not in pictures), None):
        raise UserError(
            f"{dataset.path(relative)} has no image {missing}, which was embedded; "
            "restore it, or download again and run: "
            f"{shell_command('embed', dataset.root)}"
        )
    return [pictures[key] for key in keys]


def write_rows(path: Path, tables: Sequence[pa.Table]) -> None:
    """Write the shards' rows in index order; columns that a shard lacks are null there.

    A column of several types gets the type that promote.py gives for it.
    """
    import pyarrow as pa

    schema = unified(table.schema for table in tables)
    # A file has one dictionary per column, but each shard would bring its own.
    schema = pa.schema(
        [(f.name, plain(f.type) if pa.types.is_dictionary(f.type) else f.type) for f in schema]
    )
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for table in tables:
            # One batch per shard, whatever the chunks: the file depends on its rows alone.
            for batch in as_schema(table, schema).combine_chunks().to_batches():
                writer.write_batch(batch)


@dataclass
class IndexRows:
    """The rows of an index, memory-mapped."""

    batches: list[pa.RecordBatch]
    starts: list[int]  # position of each batch's first row
    count: int

    @classmethod
    def open(cls, *paths: str | Path) -> IndexRows:
        """Map files that `write_rows` wrote, one after another."""
        import pyarrow as pa

        batches: list[pa.RecordBatch] = []
        for path in paths:
            with pa.memory_map(str(path)) as source:
                reader = pa.ipc.open_file(source)
                batches += [reader.get_batch(number) for number in range(reader.num_record_batches)]
        starts = [0]
        for batch in batches:
            starts.append(starts[-1] + batch.num_rows)
        return cls(batches, starts[:-1], starts[-1])

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns of all parts, each with one type."""
        return unified({id(batch.schema): batch.schema for batch in self.batches}.values())

    def row(self, position: int) -> dict[str, Any]:
        """One row: column -> value."""
        (found,) = self.take(np.array([position]))
        return found

    def take(
        self, positions: NDArray[np.int64], columns: Sequence[str] | None = None
    ) -> list[dict[str, Any]]:
        """The rows at positions, in their order; with `columns`, or all of them.

        A row has the columns of all parts, null if its own part lacks one.
        """
        import pyarrow as pa

        asked = None if columns is None else {folded(name) for name in columns}
        wanted = pa.schema([f for f in self.schema if asked is None or folded(f.name) in asked])
        found: list[dict[str, Any]] = [{} for _ in positions]
        numbers = np.searchsorted(self.starts, positions, side="right") - 1
        for number in np.unique(numbers):
            places = np.flatnonzero(numbers == number)
            batch = self.batches[number]
            if asked is not None:
                batch = batch.select([n for n in batch.schema.names if folded(n) in asked])
            taken = batch.take(positions[places] - self.starts[number])
            rows = taken
            if not taken.schema.equals(wanted):
                rows = as_schema(pa.Table.from_batches([taken]), wanted)
            for place, row in zip(places, rows.to_pylist(), strict=True):
                found[place] = row
        return found

    def ids(self) -> NDArray[np.int64]:
        """(N,) the ids of all rows, by position."""
        # Not to_numpy: it imports pandas, which takes most of a second.
        parts = [np.from_dlpack(batch.column("id")) for batch in self.batches]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def keys(self) -> pa.ChunkedArray:
        """(N,) the keys of all rows, by position."""
        import pyarrow as pa

        return pa.chunked_array([batch.column("key") for batch in self.batches], pa.string())


class Places:
    """Positions by id: sorted once; 16 bytes per row, or 8 if ids rise with positions."""

    def __init__(self, ids: NDArray[np.int64]) -> None:
        """Take the (N,) ids by position. Raises `UserError` if two rows have the same id."""
        rising = bool((ids[1:] > ids[:-1]).all())
        self._order = None if rising else np.argsort(ids, kind="stable")
        self._sorted = ids if self._order is None else ids[self._order]
        if (double := np.flatnonzero(self._sorted[1:] == self._sorted[:-1])).size:
            raise UserError(
                f"two rows have the id {self._sorted[double[0]]}, so their keys are equal; "
                "delete one of the shards that hold it and build the index again"
            )

    def of(self, ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) the positions of ids; -1 for an unknown one."""
        wanted = np.asarray(ids, np.int64)
        if not len(self._sorted) or not len(wanted):
            return np.full(len(wanted), -1, np.int64)
        places = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        found = places if self._order is None else self._order[places]
        return np.where(self._sorted[places] == wanted, found, -1)
