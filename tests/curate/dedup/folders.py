"""A dataset folder with what the search for duplicates reads, made of a few rows."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from frenchcat.curate.dataset import Dataset, digest_of, file_sha256
from frenchcat.curate.embed import img_emb, metadata

DIMENSION = 16


@dataclass
class Row:
    """One row of a list and what the stages said of it."""

    url: str
    sha256: str | None = None
    stored_sha256: str | None = None
    side: int | None = 100  # pixels of the width, and of the height where none is given
    height: int | None = None
    similarity: float | None = 0.2
    pdq: bytes | None = None
    quality: int = 100
    vector: NDArray[np.float64] | None = None
    stored: bool = True
    caption: str = "a cat"


def vector(seed: int, near: NDArray[np.float64] | None = None, cosine: float = 0) -> Any:
    """A unit vector by chance, or one at a cosine to another."""
    made = np.random.default_rng(seed).standard_normal(DIMENSION)
    if near is not None:
        made -= made @ near * near
        made = cosine * near + np.sqrt(1 - cosine**2) * made / np.linalg.norm(made)
    return made / np.linalg.norm(made)


def pdq(seed: int, bits: int = 0) -> bytes:
    """A hash by chance with its first so many bits turned over."""
    hash_ = np.unpackbits(np.random.default_rng(seed).integers(0, 256, 32, dtype=np.uint8))
    hash_[:bits] ^= 1
    return np.packbits(hash_).tobytes()


def write(dataset: Dataset, shard: str, rows: Sequence[Row]) -> None:
    """Publish a shard as download, embed and score leave it."""
    keys = [f"{shard}{number:04d}" for number in range(len(rows))]
    both = list(zip(keys, rows, strict=True))
    with dataset.publish("test") as out:
        sidecar = [
            {
                "key": key,
                "url": row.url,
                "caption": row.caption,
                "status": "success" if row.stored else "failed_to_download",
                "sha256": row.sha256,
                "stored_sha256": row.stored_sha256,
                "original_width": row.side,
                "original_height": row.side if row.height is None else row.height,
            }
            for key, row in both
        ]
        _table(out.path(f"shards/{shard}.parquet"), sidecar)
        _scores(out.path(f"scores/{shard}.parquet"), both)
        embedded = [(key, row) for key, row in both if row.vector is not None and row.stored]
        vectors = np.array([row.vector for _, row in embedded]).reshape(-1, DIMENSION)
        np.save(out.path(img_emb(shard)), vectors.astype(np.float16))
        _table(out.path(metadata(shard)), [{"image_path": key} for key, _ in embedded])
        digests = {name: file_sha256(out.folder / name) for name in out.relatives}
    for stage in ("download", "embed"):
        outputs = {name: {"sha256": digest} for name, digest in digests.items()}
        dataset.write_json(f"stages/{stage}/{shard}.json", {"outputs": outputs})
    manifest = dataset.manifest()
    manifest["stages"]["embed"] = {"settings": {"dimension": DIMENSION}}
    dataset.write_json("dataset.json", manifest)


def _scores(path: Path, rows: Sequence[tuple[str, Row]]) -> None:
    scores = [
        {
            "key": key,
            "pdq": None if row.pdq is None else row.pdq.hex(),
            "pdq_quality": row.quality,
            "similarity": row.similarity,
        }
        for key, row in rows
        if row.stored
    ]
    digests = {name: digest_of([row[name] for row in scores]) for name in ("pdq", "similarity")}
    _table(path, scores, {b"frenchcat.scores": json.dumps(digests).encode()})


def _table(
    path: Path, rows: list[dict[str, Any]], metadata: dict[bytes, bytes] | None = None
) -> None:
    table = pa.Table.from_pylist(rows, _SCHEMA if not rows else None)
    pq.write_table(table.replace_schema_metadata(metadata), path)


_SCHEMA = pa.schema([("image_path", pa.string())])


def read(dataset: Dataset) -> dict[str, dict[str, Any]]:
    """Key -> row of all the dataset's duplicates."""
    names = dataset.files("duplicates")
    tables = [pq.read_table(dataset.path(f"duplicates/{name}")) for name in names]
    return {row["key"]: row for row in pa.concat_tables(tables).to_pylist()}
