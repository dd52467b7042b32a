"""The indexed rows: position in the index -> key, caption, url, and where the picture lies.

Reads a dataset's embeddings/metadata/ and tars, writes ``index/rows.arrow`` (Arrow IPC, one batch
a shard, uncompressed, memory-mapped when read). A position is a row of the index files and never
leaves this package; `id`, a 64-bit number made of the key alone, and `key` do.

Cost: a header read a picture when written; opening maps the file, and a hit reads its own row.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curate import embed, tars
from curate.dataset import Dataset
from curate.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = "index/rows.arrow"
PLACE = ("id", "key", "shard", "extension", "offset", "size")
"""The columns that come before the metadata's own: where a picture's bytes lie in its tar."""


def id_of(key: str) -> int:
    """A key as a 64-bit id: its number, or, for other keys, 63 bits of its SHA-256."""
    if key.isascii() and key.isdigit() and len(key) <= 18:
        return int(key)
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1


def shard_rows(dataset: Dataset, shard: str) -> pa.Table:
    """One shard's embedded rows: PLACE, caption, url and the metadata's other columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with dataset.as_local(embed.metadata(shard)) as path:
        table = pq.read_table(path)
    with dataset.as_local(f"shards/{shard}.tar") as path:
        pictures = {m.key: m for m in tars.members(path) if m.extension in embed.PICTURES}
    keys = table["image_path"].to_pylist()
    if missing := next((key for key in keys if key not in pictures), None):
        raise UserError(
            f"{dataset.path(f'shards/{shard}.tar')} has no picture {missing}, which was embedded; "
            f"restore it, or download again and run: frenchcat embed {dataset.root}"
        )
    members = [pictures[key] for key in keys]
    columns = {
        "id": pa.array([id_of(key) for key in keys], pa.int64()),
        "key": pa.array(keys, pa.string()),
        "shard": pa.array([shard] * len(keys), pa.string()),
        "extension": pa.array([member.extension for member in members], pa.string()),
        "offset": pa.array([member.offset for member in members], pa.int64()),
        "size": pa.array([member.size for member in members], pa.int64()),
    }
    others = [name for name in table.column_names if name not in (*PLACE, "image_path")]
    return pa.table(columns | {name: table[name] for name in others})


def write_rows(path: Path, tables: Sequence[pa.Table]) -> None:
    """Write the shards' rows in index order; a column that one of them lacks is null there."""
    import pyarrow as pa

    schema = pa.unify_schemas([t.schema for t in tables], promote_options="permissive")
    schema = schema.remove_metadata()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for table in tables:
            missing = [field for field in schema if field.name not in table.column_names]
            for field in missing:
                table = table.append_column(field, pa.nulls(table.num_rows, field.type))
            # One batch a shard, whatever the chunks: the file depends on its rows alone.
            whole = table.select(schema.names).cast(schema).combine_chunks()
            for batch in whole.to_batches():
                writer.write_batch(batch)


@dataclass
class Rows:
    """The rows of an index, memory-mapped."""

    batches: list[pa.RecordBatch]
    starts: list[int]  # position of each batch's first row
    count: int

    @classmethod
    def open(cls, path: str | Path) -> Rows:
        """Map the file that `write_rows` wrote."""
        import pyarrow as pa

        with pa.memory_map(str(path)) as source:
            reader = pa.ipc.open_file(source)
            batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
        starts = [0]
        for batch in batches:
            starts.append(starts[-1] + batch.num_rows)
        return cls(batches, starts[:-1], starts[-1])

    def row(self, position: int) -> dict[str, Any]:
        """One row, column -> value."""
        number = bisect.bisect_right(self.starts, position) - 1
        batch = self.batches[number]
        (row,) = batch.slice(position - self.starts[number], 1).to_pylist()
        found: dict[str, Any] = row
        return found

    def ids(self) -> NDArray[np.int64]:
        """(N,) the ids of all rows, by position."""
        parts = [batch.column("id").to_numpy() for batch in self.batches]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)
