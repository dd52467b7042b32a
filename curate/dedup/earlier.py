"""What an earlier search found: rows that were compared with each other need not be again.

Reads the markers and duplicates/ of the stage; writes nothing. Rows count as compared where every
shard of the earlier search is as it was, with the same settings and removals: then clusters can
only grow, and only by what is near a new row. Any other change has all rows compared again, since
a row that changed or went may have been what held a cluster together.

Cost: three columns read per compared shard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.dedup.cluster import Edges, no_edges
from frenchcat.curate.dedup.rows import StoredRows
from frenchcat.curate.markers import Inputs, Signature, is_made, marker
from frenchcat.curate.parquets import read_parquet

IMAGE = "image_cluster"
"""The column with the clusters of one image, by bytes, URL or looks."""
CLUSTER = "cluster"


@dataclass(frozen=True)
class Earlier:
    """Which rows were compared, and what was found."""

    added: NDArray[np.bool_]  # (rows,): not compared yet
    edges: Mapping[str, Edges]  # column -> each compared row and the first of its cluster


def made_of(inputs: Mapping[str, Any]) -> Inputs:
    """What a marker names as the inputs of a search: one digest over all shards and removals."""
    return {"all": digest_of(inputs)}


def compared_shards(
    dataset: Dataset, signature: Signature, inputs: Mapping[str, Any], shards: Sequence[str]
) -> list[str]:
    """The shards of an earlier search, in order; none where it does not hold any longer.

    `inputs` are those of all shards, by shard, and of the removals.
    """
    new = {shard for shard in shards if marker(dataset, signature.name, shard) is None}
    then = made_of({name: each for name, each in inputs.items() if name not in new})
    old = [shard for shard in shards if shard not in new]
    return old if all(is_made(dataset, signature, shard, lambda: then) for shard in old) else []


def read_earlier(dataset: Dataset, rows: StoredRows, compared: Sequence[str]) -> Earlier:
    """What an earlier search said of the rows of `compared`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    added = np.ones(len(rows.table), bool)
    start = 0
    tables = []
    for shard, count in rows.shards:
        if shard in compared:
            added[start : start + count] = False
            with dataset.as_local(files.DUPLICATES.of(shard)) as path:
                tables.append(read_parquet(path, columns=["key", CLUSTER, IMAGE]))
        start += count
    if not tables:
        return Earlier(added, {CLUSTER: no_edges(), IMAGE: no_edges()})
    known = pa.concat_tables(tables)
    keys = rows.table["key"].combine_chunks()
    own, edges = pc.index_in(known["key"], value_set=keys), {}
    for column in (CLUSTER, IMAGE):
        first = pc.index_in(known[column], value_set=keys, skip_nulls=True)
        pairs = pa.table([first, own], names=["first", "own"]).drop_null()
        edges[column] = np.stack(
            [np.asarray(pairs[name], np.int64) for name in ("first", "own")], axis=1
        )
    return Earlier(added, edges)
