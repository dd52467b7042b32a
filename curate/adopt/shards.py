"""Shards of an adopted dataset, published as the stages would have: files together with markers.

From clip-retrieval's rows: a sidecar, vectors and metadata of at most 10,000 rows a shard, under
new keys; the row's old name is kept as `original_key`. There are no tars, so hits show their URL.
From img2dataset: its own files, linked (copied where the disk is another), ready to be embedded.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import embed, files
from frenchcat.curate.dataset import Dataset
from frenchcat.curate.download.columns import uid_of
from frenchcat.curate.errors import UserError
from frenchcat.curate.failures import COLUMNS
from frenchcat.curate.markers import Signature, write_marker

if TYPE_CHECKING:
    import pyarrow as pa

Vectors = NDArray[np.float32]
PER_SHARD = 10_000
_NAMES = {"url": ("url", "image_url", "link"), "caption": ("caption", "text", "alt", "title")}
_OURS = ("key", "uid", "status", "error_message", "shard", *COLUMNS)


def write_rows(
    dataset: Dataset,
    shard: str,
    rows: pa.Table,
    pictures: Vectors,
    texts: Vectors,
    signatures: tuple[Signature, Signature],
) -> None:
    """Publish a shard without pictures: `rows` are clip-retrieval's, vectors (N, D) float32."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys = [f"{shard}{row:04d}" for row in range(rows.num_rows)]
    columns = _columns(rows)
    uids = map(uid_of, (url or "" for url in columns["url"].to_pylist()), _texts(columns))
    status = {
        "status": pa.array(["success"] * len(keys)),
        "error_message": pa.nulls(len(keys), pa.string()),
    }
    others = {name: column for name, column in columns.items() if name not in ("url", "caption")}
    named = {"caption": columns["caption"], "url": columns["url"], "key": pa.array(keys)}
    sidecar = pa.table({"uid": pa.array(list(uids)), **named, **status, **others})
    table = pa.table({"image_path": pa.array(keys), **columns})
    download, embedding = signatures
    with dataset.publish(f"adopt-{shard}") as publication:
        path = publication.path(files.SIDECAR.of(shard))
        pq.write_table(sidecar, path, compression="zstd")
        counts = {"downloaded": len(keys)}
        write_marker(publication, download, shard, {}, counts, [files.SIDECAR.of(shard)])
        made = [embed.img_emb(shard), embed.text_emb(shard), embed.metadata(shard)]
        np.save(publication.path(made[0]), pictures.astype(np.float16))
        np.save(publication.path(made[1]), texts.astype(np.float16))
        pq.write_table(table, publication.path(made[2]), compression="zstd")
        write_marker(publication, embedding, shard, {}, {"embedded": len(keys)}, made)


def link_shard(dataset: Dataset, folder: Path, shard: str, signature: Signature) -> dict[str, int]:
    """Publish one of img2dataset's shards; gives its counts. Raises `UserError` where broken."""
    import pyarrow.parquet as pq

    from frenchcat.curate import tars

    tars.members(folder / f"{shard}.tar")  # a tar that was cut short is refused here
    table = pq.read_table(folder / f"{shard}.parquet")
    missing = [
        name for name in ("key", "url", "caption", "status") if name not in table.column_names
    ]
    if missing:
        raise UserError(
            f"{folder / shard}.parquet has no column {missing[0]!r}; img2dataset writes one "
            "when run with --output_format webdataset and a caption column"
        )
    stored = sum(status == "success" for status in table["status"].to_pylist())
    counts = {"downloaded": stored, "failed": table.num_rows - stored}
    names = [f"{shard}.tar", f"{shard}.parquet", f"{shard}_stats.json"]
    with dataset.publish(f"adopt-{shard}") as publication:
        made = []
        for name in names:
            if (folder / name).exists():
                _link(folder / name, publication.path(f"shards/{name}"))
                made.append(f"shards/{name}")
        write_marker(publication, signature, shard, {}, counts, made)
    return counts


def unit(rows: Vectors, where: str) -> Vectors:
    """Rows of length one. Raises `UserError` for a row that is zero or not a number."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    bad = ~np.isfinite(lengths[:, 0]) | (lengths[:, 0] == 0)
    if bad.any():
        raise UserError(f"{where}: vector {int(np.argmax(bad))} is zero or not a number")
    return np.asarray(rows / lengths, np.float32)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)


def _columns(rows: pa.Table) -> dict[str, Any]:
    """clip-retrieval's columns under our names: caption and url first, then the others."""
    import pyarrow as pa

    lower = {name.lower(): name for name in reversed(rows.column_names)}
    found: dict[str, Any] = {}
    for name in ("caption", "url"):
        given = next((lower[alias] for alias in _NAMES[name] if alias in lower), None)
        texts = pa.nulls(rows.num_rows, pa.string()) if given is None else rows[given]
        found[name] = texts.cast(pa.string())
    if "image_path" in rows.column_names:
        found["original_key"] = rows["image_path"].cast(pa.string())
    for name in rows.column_names:
        ours = name.lower() in (*_OURS, "image_path", "caption", "url")
        if not ours and name not in found:
            found[name] = rows[name]
    return found


def _texts(columns: Mapping[str, Any]) -> list[str]:
    return [text or "" for text in columns["caption"].to_pylist()]
