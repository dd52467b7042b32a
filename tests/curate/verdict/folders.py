"""Small datasets without pictures or a model, for verdicts: sidecars, scores, markers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from frenchcat.curate.dataset import Dataset, digest_of
from frenchcat.curate.stage import marker

TYPES = {
    **dict.fromkeys(("key", "uid", "url", "caption", "status", "error_message"), pa.string()),
    **dict.fromkeys(("language", "duplicate_of", "kind", "reason"), pa.string()),
    **dict.fromkeys(("width", "height"), pa.int32()),
    **dict.fromkeys(("similarity", "punsafe"), pa.float32()),
}


def write(
    dataset: Dataset,
    stage: str,
    relative: str,
    shard: str,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
) -> None:
    """A parquet file of these columns, and its digest in the marker of the stage."""
    schema = pa.schema([(name, TYPES.get(name, pa.string())) for name in columns])
    values = [{name: row.get(name) for name in columns} for row in rows]
    with dataset.publish("test") as publication:
        pq.write_table(pa.Table.from_pylist(values, schema), publication.path(relative))
    before = marker(dataset, stage, shard) or {"outputs": {}}
    output = {"bytes": dataset.size(relative), "sha256": digest_of([list(columns), values])}
    outputs = {**before["outputs"], relative: output}
    made = {"digest": digest_of(outputs), "inputs": {}, "outputs": outputs, "counts": {}}
    dataset.write_json(f"stages/{stage}/{shard}.json", made)


def add_rows(dataset: Dataset, shard: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A shard's sidecar; a row's `failed` is its error message, None where it was stored."""
    listed = []
    for number, row in enumerate(rows):
        key = f"{shard}{number:04d}"
        why = row.get("failed")
        status = {"status": "failed_to_download" if why else "success", "error_message": why}
        own = {"key": key, "uid": f"{int(key):032x}", "url": f"http://a.example/{key}"}
        listed.append({**own, **status, **row})
    first = ["uid", "key", "url", "caption", "status", "error_message", "width", "height"]
    others = sorted({name for row in listed for name in row} - {*first, "failed"})
    write(dataset, "download", f"shards/{shard}.parquet", shard, listed, [*first, *others])
    return [str(row["key"]) for row in listed]


def add_scores(dataset: Dataset, shard: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A shard's scores; rows name their key."""
    names = {name for row in rows for name in row} | {"similarity", "punsafe"}
    columns = ["key", *sorted(names - {"key"})]
    write(dataset, "score", f"scores/{shard}.parquet", shard, rows, columns)


def add_duplicates(dataset: Dataset, shard: str, of: Mapping[str, str | None]) -> None:
    """What a shard's rows are copies of: key -> key, or None."""
    rows = [{"key": key, "duplicate_of": other} for key, other in of.items()]
    relative = f"duplicates/{shard}.parquet"
    write(dataset, "dedup", relative, shard, rows, ["key", "duplicate_of"])


def add_rights(dataset: Dataset, shard: str, decisions: Mapping[str, str | None]) -> None:
    """A signal a key with what it decides, as the download leaves them."""
    rows = [{"key": k, "signal": "x_robots_tag", "decision": d} for k, d in decisions.items()]
    relative = f"rights/{shard}.parquet"
    write(dataset, "download", relative, shard, rows, ["key", "signal", "decision"])


def add_unembedded(dataset: Dataset, shard: str, reasons: Mapping[str, str]) -> None:
    """The pictures of a shard that have no vector."""
    rows = [{"key": key, "reason": reason} for key, reason in sorted(reasons.items())]
    relative = f"embeddings/failed/failed_{shard}.parquet"
    write(dataset, "embed", relative, shard, rows, ["key", "reason"])


def verdicts(dataset: Dataset) -> dict[str, tuple[bool, str | None]]:
    """Key -> keep, reason, of every shard."""
    found = {}
    for name in dataset.files("verdicts"):
        for row in pq.read_table(Path(dataset.path(f"verdicts/{name}"))).to_pylist():
            found[row["key"]] = (row["keep"], row["reason"])
    return found
