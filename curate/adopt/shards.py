"""Shards of an adopted dataset, published as the stages would have: files together with markers.

`write_rows` is for rows without images: sidecar, vectors and metadata. `write_images` is for rows
with images: the tar, or a link to one that is as ours are, the sidecar, the stats. A file is
linked, or copied where the disk is another, so the adopted folder stays as it is.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from frenchcat.curate import files, tars
from frenchcat.curate.dataset import Dataset, Publication
from frenchcat.curate.download.shards import NOT_FETCHED, SUCCESS
from frenchcat.curate.failures import COLUMNS, Failure
from frenchcat.curate.markers import Inputs, Signature, write_marker

if TYPE_CHECKING:
    import pyarrow as pa

Vectors = NDArray[np.float32]
Sample = tuple[str, Mapping[str, bytes]]
"""A key, and extension -> bytes of the members of its sample."""
READING = "reading"
"""The input of an adopted shard that says which columns and captions were taken."""
MISSING_FILE = "missing_file"
"""Why a row has no image: the folder that was adopted does not have the file."""


@dataclass(frozen=True)
class VectorShard:
    """Rows without images: columns as long as `keys`, vectors of those that have some."""

    name: str
    keys: Sequence[str]
    columns: Mapping[str, Any]  # caption, url, uid, then others: Arrow arrays
    images: Vectors  # (N, D) unit rows
    texts: Vectors  # (N, D) unit rows
    unusable: Mapping[int, str]  # row -> why it has no vector; their vectors are left out


def write_rows(
    dataset: Dataset, shard: VectorShard, signatures: tuple[Signature, Signature], inputs: Inputs
) -> None:
    """Publish a shard without images, signed as the download and the embedding."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    name, keys = shard.name, pa.array(shard.keys, pa.string())
    ours = ("uid", "caption", "url")
    others = {name: column for name, column in shard.columns.items() if name not in ours}
    sidecar = pa.table(
        {
            **{name: shard.columns[name] for name in ours},
            "key": keys,
            "status": pa.array([SUCCESS] * len(keys)),
            "error_message": pa.nulls(len(keys), pa.string()),
            **others,
        }
    )
    listed = {"caption": shard.columns["caption"], "url": shard.columns["url"], **others}
    whole = np.ones(len(keys), bool)
    whole[list(shard.unusable)] = False
    table = pa.table({"image_path": keys, **listed}).filter(whole)
    failed = {shard.keys[row]: why for row, why in sorted(shard.unusable.items())}
    download, embedding = signatures
    with dataset.publish(f"adopt-{name}") as publication:
        path = publication.path(files.SIDECAR.of(name))
        pq.write_table(sidecar, path, compression="zstd")
        counts = {"downloaded": len(keys)}
        write_marker(publication, download, name, inputs, counts, [files.SIDECAR.of(name)])
        made = [files.IMG_EMB.of(name), files.TEXT_EMB.of(name), files.METADATA.of(name)]
        np.save(publication.path(made[0]), shard.images[whole].astype(np.float16))
        np.save(publication.path(made[1]), shard.texts[whole].astype(np.float16))
        pq.write_table(table, publication.path(made[2]), compression="zstd")
        counts = {"embedded": int(whole.sum())}
        if failed:
            made.append(files.NOT_EMBEDDED.of(name))
            _write_failed(publication.path(made[-1]), failed)
            counts["failed"] = len(failed)
        write_marker(publication, embedding, name, inputs, counts, made)


def _write_failed(path: Path, failed: Mapping[str, str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("key", pa.string()), ("reason", pa.string())])
    table = pa.table({"key": list(failed), "reason": list(failed.values())}, schema)
    pq.write_table(table, path, compression="zstd")


# -- with images ---------------------------------------------------------------------------------


def publish_images(
    publication: Publication, signature: Signature, shard: str, inputs: Inputs, rows: pa.Table
) -> dict[str, int]:
    """Add the marker of a shard whose files are written; gives its counts."""
    stored = sum(status == SUCCESS for status in rows["status"].to_pylist())
    counts = {"downloaded": stored, "failed": rows.num_rows - stored}
    write_marker(publication, signature, shard, inputs, counts)
    return counts


def write_tar(path: Path, samples: Iterable[Sample]) -> None:
    """Write samples in the order given, each with its image first."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in samples:
            for extension, data in members.items():
                tars.add(tar, f"{key}.{extension}", data)


def with_failures(
    rows: pa.Table, failures: Mapping[int, Failure], status: str = NOT_FETCHED
) -> pa.Table:
    """A sidecar in which these rows failed, with the reason in its columns."""
    import pyarrow as pa

    if not failures:
        return rows
    said: dict[str, list[str | None]] = {
        name: rows[name].to_pylist() if name in rows.column_names else [None] * rows.num_rows
        for name in ("status", "error_message", *COLUMNS)
    }
    for row, failure in failures.items():
        values = (status, failure.sentence, failure.reason, failure.signal, failure.detail)
        for name, value in zip(said, values, strict=True):
            said[name][row] = value
    columns = {name: rows[name] for name in rows.column_names}
    columns |= {name: pa.array(column, pa.string()) for name, column in said.items()}
    return pa.table(columns)


def link(source: Path, target: Path) -> None:
    """Link a file, or copy it where the disk is another."""
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(source, target)
