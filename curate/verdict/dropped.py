"""What is not kept of a shard as it is now: its verdicts, and what no verdict knows yet.

Reads verdicts/, embeddings/failed/ and the removal log, writes nothing. A removal counts from the
moment it is logged, a missing vector also where nothing was judged. Cost: one shard's verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.parquets import text_array
from frenchcat.curate.removals import removed_by_shard
from frenchcat.curate.verdict.settings import REMOVED

if TYPE_CHECKING:
    import pyarrow as pa


def reasons(dataset: Dataset, shard: str) -> pa.Table:
    """What is not kept of a shard: key, reason; one row per key."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    now = not_embedded(dataset, shard) | dict.fromkeys(removed(dataset, shard), REMOVED)
    first = reason_table(now)
    if not dataset.exists(files.VERDICTS.of(shard)):
        return first
    with dataset.as_local(files.VERDICTS.of(shard)) as path:
        table = pq.ParquetFile(path).read()
    judged = table.filter(pc.invert(table["keep"])).select(["key", "reason"])
    later = judged.filter(pc.invert(pc.is_in(judged["key"], first["key"].combine_chunks())))
    return pa.concat_tables([first, later.cast(first.schema)])


def removed(dataset: Dataset, shard: str) -> list[str]:
    """The keys of a shard's removed rows, sorted."""
    return sorted(removed_by_shard(dataset).get(shard, ()))


def not_embedded(dataset: Dataset, shard: str) -> dict[str, str]:
    """Key -> why a stored image has no vector, as a reason: ``not_embedded:<why>``."""
    import pyarrow.parquet as pq

    if not dataset.exists(files.NOT_EMBEDDED.of(shard)):
        return {}
    with dataset.as_local(files.NOT_EMBEDDED.of(shard)) as path:
        rows = pq.ParquetFile(path).read().to_pylist()
    return {row["key"]: f"not_embedded:{str(row['reason']).split(':')[0]}" for row in rows}


def reason_table(reasons: Mapping[str, str]) -> pa.Table:
    """Reasons by key as a table: key, reason."""
    import pyarrow as pa

    return pa.table({"key": text_array(reasons), "reason": text_array(reasons.values())})
