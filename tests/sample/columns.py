"""Columns written beside a shard's rows, or over those of a file that is there."""

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from frenchcat.curate.dataset import Dataset
from frenchcat.curate.manifest import StageEntry
from frenchcat.curate.markers import record_entry


def add_columns(dataset: Dataset, folder: str, shard: str = "00000", **columns: Any) -> None:
    """Write scores/, duplicates/ or verdicts/ of a shard, a value a row, without a marker."""
    with dataset.as_local(f"shards/{shard}.parquet") as path:
        keys = pq.read_table(path, columns=["key"])["key"].to_pylist()
    with dataset.publish("columns") as publication:
        table = pa.table({"key": keys, **columns})
        pq.write_table(table, publication.path(f"{folder}/{shard}.parquet"))
    record_entry(dataset, folder, StageEntry(settings={}))


def set_columns(dataset: Dataset, relative: str, **columns: Any) -> None:
    """Give a parquet file columns, or other values in them; no marker is touched."""
    with dataset.as_local(relative) as path:
        table = pq.read_table(path)
    for name, values in columns.items():
        column = values if isinstance(values, pa.Array) else pa.array(values)
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            table = table.append_column(name, column)
    with dataset.publish("columns") as publication:
        pq.write_table(table, publication.path(relative))
