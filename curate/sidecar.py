"""Sidecars as they are read: why each row failed is always in columns of its own.

Reads ``shards/{shard}.parquet``, writes nothing. Datasets made before those columns, and adopted
folders of img2dataset, have `error_message` alone; the SQL below is the one place that takes that
sentence apart. Cost: nothing where a file has the columns, else a pass over its failed rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from frenchcat.curate import files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.failures import COLUMNS, DETAIL, OPTED_OUT, REASON, SIGNAL, UNKNOWN
from frenchcat.curate.parquets import free

if TYPE_CHECKING:
    import pyarrow as pa

NAMES = (
    *("caption", "url", "key", "status", "error_message", "width", "height"),
    *("original_width", "original_height", "exif", "sha256", "md5", "uid", "stored_sha256"),
    "original_bytes",
    *COLUMNS,
    *("source_file", "source_row", "source_path"),
)
"""The columns of a sidecar that are not the list's own: img2dataset's, then ours."""
LATER = {"original_bytes": "BIGINT"}
"""Columns that sidecars of older downloads and adopted folders lack, and their DuckDB types."""
FAILED_SQL = "status IS DISTINCT FROM 'success'"


def read(dataset: Dataset, shard: str, columns: Iterable[str]) -> pa.Table:
    """These columns of a shard's sidecar, as far as it has them, and those of `COLUMNS`."""
    import pyarrow.parquet as pq

    with dataset.as_local(files.SIDECAR.of(shard)) as path:
        # Not read_table: that imports pandas, most of a second.
        file = pq.ParquetFile(path)
        there = file.schema_arrow.names
        said = COLUMNS if set(COLUMNS) <= set(there) else (*COLUMNS, "error_message")
        asked = dict.fromkeys((*columns, "status", *said))
        return filled(file.read([name for name in asked if name in there]))


def filled(sidecar: pa.Table) -> pa.Table:
    """A sidecar's rows with the text columns of `COLUMNS`: null for a stored row."""
    if set(COLUMNS) <= set(sidecar.column_names):
        return sidecar
    import duckdb  # takes a while, and most datasets have the columns

    needed = [n for n in ("status", "error_message", *COLUMNS) if n in sidecar.column_names]
    with duckdb.connect() as duck:
        duck.register("sidecar", sidecar.select(needed))
        sql = f"SELECT {', '.join(COLUMNS)} FROM ({filled_sql('sidecar', needed)})"
        found = duck.sql(sql).to_arrow_table()
    kept = sidecar.select([name for name in sidecar.column_names if name not in COLUMNS])
    for name in COLUMNS:
        kept = kept.append_column(name, found[name])
    return kept


def filled_sql(source: str, there: Collection[str]) -> str:
    """SQL: the rows of `source`, which has the columns `there`, with `COLUMNS` behind the others.

    A failed row without a reason is given what its sentence says: ``http_404: gone`` has the reason
    before the first colon, and of ``opted_out:x_robots_tag: noai`` the signal comes before the
    second.
    """
    # A list's own columns may be called anything, so ours are called what none of them is.
    unsaid, said = free("frenchcat_unsaid", there), free("frenchcat_said", there)
    known = {name: f"{name}::VARCHAR" if name in there else "NULL::VARCHAR" for name in COLUMNS}
    sentence = "error_message::VARCHAR" if "error_message" in there else "NULL::VARCHAR"
    of_name = f"CASE WHEN {said}[1] = '{OPTED_OUT}' THEN 2 ELSE 1 END"
    parsed = {
        REASON: f"coalesce(nullif({said}[1], ''), '{UNKNOWN}')",
        SIGNAL: f"CASE WHEN {said}[1] = '{OPTED_OUT}' THEN nullif(trim({said}[2]), '') END",
        DETAIL: f"CASE WHEN len({said}) > {of_name} THEN "
        f"regexp_replace(array_to_string({said}[{of_name} + 1:], ':'), '^ ', '') END",
    }
    columns = ", ".join(
        f"CASE WHEN {unsaid} THEN {parsed[name]} ELSE {known[name]} END AS {name}"
        for name in COLUMNS
    )
    own = ", ".join([unsaid, said, *(name for name in COLUMNS if name in there)])
    return (
        f"SELECT * EXCLUDE ({own}), {columns} FROM ("
        f"SELECT *, CASE WHEN {unsaid} THEN string_split({sentence}, ':') END AS {said} FROM ("
        f"SELECT *, {FAILED_SQL} AND {known[REASON]} IS NULL AS {unsaid} FROM {source}))"
    )
